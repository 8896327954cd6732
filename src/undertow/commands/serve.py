"""``undertow serve``: serve a folder of runs as live pages."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "undertow serve runs"


def serve(
    runs: Annotated[Path, typer.Argument(metavar="RUNS_DIR", help="The folder that undertow.watch writes to.")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0 for any; by default 8642 or the next that is free.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind to; other machines may reach it only with --token.")] = (
        "127.0.0.1"
    ),
    token: Annotated[
        str, typer.Option(envvar="UNDERTOW_TOKEN", help="What readers must know, 16 characters or more.")
    ] = "",
) -> None:
    """Show a folder of runs as live pages: they follow a training while it goes on."""
    try:
        from undertow.serving import listening
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise ImportError("undertow serve needs starlette and uvicorn: pip install 'undertow[serve]'") from error
    listening.serve(runs, host, port, token, lambda address: _announce(address, bool(token)))


def _announce(address: str, guarded: bool) -> None:
    typer.echo(f"the runs are at {address}{'?token=... (yours)' if guarded else ''}; Ctrl-C stops")
