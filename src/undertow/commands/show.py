"""``undertow show``: print how a run went, and write it as a page."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "undertow show runs/first.undertow --out run.html"

Recorded = Annotated[Path, typer.Argument(metavar="RUN", help="A file that `undertow.watch` wrote, or still writes.")]


def show(
    run: Recorded,
    out: Annotated[Path | None, typer.Option(help="Write everything as one page: .html.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Tell causes at this step; else the last finite.")] = None,
) -> None:
    """Show how a run went: every layer through time, what changes the gradient and why, and what is wrong."""
    if out is not None and out.suffix.lower() != ".html":
        raise ValueError(f"can't write a run as {out.name!r}: give --out a name that ends in .html")
    from undertow.report import explain
    from undertow.store import open_run

    explanation = explain(open_run(run), step)
    typer.echo(explanation.text(run.name))
    if out is not None:
        explanation.save(out, run.name)
        typer.echo(f"  {out} holds the page")
