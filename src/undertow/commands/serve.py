"""``undertow serve``: serve a folder of runs as live pages."""

import os
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "undertow serve runs"


def serve(
    runs: Annotated[Path, typer.Argument(metavar="RUNS_DIR", help="The folder that undertow.watch writes to.")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0 for any; by default 8642 or the next that is free.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind to; other machines may reach it only with a token.")] = (
        "127.0.0.1"
    ),
    token: Annotated[
        str,
        typer.Option(envvar="UNDERTOW_TOKEN", help="What readers must know, 16 characters or more; ps shows it."),
    ] = "",
    token_file: Annotated[Path | None, typer.Option(help="A file that holds the token, which ps doesn't show.")] = None,
) -> None:
    """Show a folder of runs as live pages: they follow a training while it goes on."""
    try:
        from undertow.serving import listening
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise ImportError("undertow serve needs starlette and uvicorn: pip install 'undertow[serve]'") from error
    seen = bool(token) and token_file is None and token != os.environ.get("UNDERTOW_TOKEN")
    token = _token(token, token_file)
    listening.serve(runs, host, port, token, lambda address: _announce(address, bool(token), seen))


def _token(token: str, file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").strip()
    return token


def _announce(address: str, guarded: bool, seen: bool) -> None:
    if seen:
        typer.echo("everybody on this machine can read --token in ps: give --token-file or UNDERTOW_TOKEN", err=True)
    typer.echo(f"the runs are at {address}{'?token=... (yours)' if guarded else ''}; Ctrl-C stops")
