"""``undertow chapter5``: the study of that name, with options that others don't have."""

from pathlib import Path
from typing import Annotated

import typer

from undertow.commands.study import Data, Quick, Seed, carry_out, console

EXAMPLE = "undertow chapter5 --quick --data digits"


def chapter5(
    members: Annotated[
        int | None, typer.Option(min=1, help="Networks of each kind, from different seeds; 8, or 2 with --quick.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and results.json.")] = Path("chapter5"),
    data: Data = "mnist",
    quick: Quick = False,
    seed: Seed = 0,
    check: Annotated[
        Path | None, typer.Option(help="Recompute what can be recomputed of the results in this folder.")
    ] = None,
) -> None:
    """Reproduce chapter 5 of Nielsen's book: every figure and every number, on one page."""
    from undertow.studies import chapter5 as book

    if check:
        checked = book.check(check, data, console)
        console.print(*map(str, checked), sep="\n", soft_wrap=True)
        raise typer.Exit(any(each.holds is False for each in checked))
    carry_out(book.STUDY, out, quick=quick, seed=seed, data=data, config=book.config(quick, members))
