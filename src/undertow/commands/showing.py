"""``undertow show``."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from undertow.files import write_whole
from undertow.record import Run
from undertow.store import open_run

Recorded = Annotated[Path, typer.Argument(metavar="RUN", help="A file that `undertow.watch` wrote, or still writes.")]


def show(
    run: Recorded,
    out: Annotated[Path | None, typer.Option(help="Write everything as one page: .html.")] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Tell causes at this step; the last unless given.")] = None,
) -> None:
    """Show how a run went: every layer through time, what changes the gradient and why, and what is wrong."""
    if out is not None and out.suffix.lower() != ".html":
        raise ValueError(f"can't write a run as {out.name!r}: give --out a name that ends in .html")
    from undertow.show.judging import judged
    from undertow.show.terminal import summary

    opened = open_run(run)
    row = row_of(opened, step)
    findings = judged(opened)
    typer.echo(summary(opened, findings, row, run.name))
    if out is not None:
        from undertow.show.board import saved

        write_whole(out, saved(opened, findings, run.name, row).encode())
        typer.echo(f"  {out} holds the page")


def row_of(run: Run, step: int | None) -> int:
    """The place of a step among the taped ones, -1 for the last.

    Raises:
        ValueError: it was not taped; the nearest is named.

    Example:
        >>> row_of(Run({}, (), steps={"step": np.array([0.0, 8.0, 16.0])}), 9)
        Traceback (most recent call last):
        ValueError: step 9 was not taped: the nearest that was is 8, the last 16
    """
    if step is None:
        return -1
    taped = run.steps.get("step", np.arange(len(run)))
    if not len(taped):
        raise ValueError("no step of this run was taped, so there is none to tell of: leave --step out")
    row = int(np.argmin(abs(taped - step)))
    if taped[row] != step:
        nearest = f"the nearest that was is {taped[row]:,.0f}, the last {taped[-1]:,.0f}"
        raise ValueError(f"step {step:,} was not taped: {nearest}")
    return row
