"""``undertow examine``: examine a model and print or write its report."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from undertow.commands._inputs import Opened, Repeats, examined

EXAMPLE = "undertow examine net.py:build --out report.html"

Target = Annotated[
    str, typer.Argument(metavar="FILE.py:FUNCTION", help="FUNCTION() returns (model, compute_loss[, optimizer]).")
]


def examine(
    of: Target,
    out: Annotated[Path | None, typer.Option(help="Write the report: .html, .png, .svg, .json or .txt.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    repeats: Repeats = 1,
) -> None:
    """Say how the gradient gets from the loss to the first layer of a model, what becomes of it and why."""
    there = Path.cwd()  # the user's code may go elsewhere
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        opened = examined(of, repeats)
    if out:
        opened.report.save(there / out)
    _print(opened, as_json)
    if out:
        typer.echo(f"  {out} holds the report", err=as_json)


def _print(opened: Opened, as_json: bool) -> None:
    if as_json:
        json.dump(opened.report.to_dict(), sys.stdout, allow_nan=False)
        typer.echo()
        return
    typer.echo(str(opened.report))
    if opened.silenced:
        typer.echo(f"  {opened.silenced} finding{'s' if opened.silenced > 1 else ''} silenced by pyproject.toml")
