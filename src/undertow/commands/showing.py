"""``undertow show``."""

from pathlib import Path
from typing import Annotated

import typer

from undertow.files import write_whole
from undertow.reporting.explanation import last_finite, row_of
from undertow.store import open_run

Recorded = Annotated[Path, typer.Argument(metavar="RUN", help="A file that `undertow.watch` wrote, or still writes.")]


def show(
    run: Recorded,
    out: Annotated[Path | None, typer.Option(help="Write everything as one page: .html.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Tell causes at this step; else the last finite.")] = None,
) -> None:
    """Show how a run went: every layer through time, what changes the gradient and why, and what is wrong."""
    if out is not None and out.suffix.lower() != ".html":
        raise ValueError(f"can't write a run as {out.name!r}: give --out a name that ends in .html")
    from undertow.render.terminal_run import summary
    from undertow.rules import over_time

    opened = open_run(run)
    row = last_finite(opened) if step is None else row_of(opened, step)
    findings = over_time(opened)
    typer.echo(summary(opened, findings, row, run.name))
    if out is not None:
        from undertow.render.run_page import saved

        write_whole(out, saved(opened, findings, run.name, row).encode())
        typer.echo(f"  {out} holds the page")
