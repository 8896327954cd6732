"""``undertow mcp``: let an agent ask about a folder, by the Model Context Protocol."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "undertow mcp runs"


def mcp(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What may be read: runs, reports, models.")],
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run FILE.py:FUNCTION of this folder when an agent asks for it.")
    ] = False,
) -> None:
    """Let an agent ask about a folder, read-only, by the Model Context Protocol over standard input and output.

    It answers examine, explain, plan, runs, rules and remedies, and writes nothing.
    """
    from undertow.integrations.mcp import serve

    serve(folder, allow_code)
