"""``undertow chapter5``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def chapter5(
    members: Annotated[
        int | None, typer.Option(min=1, help="Networks of each kind, from different seeds; 8, or 2 with --quick.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and results.json.")] = Path("chapter5"),
    data: Annotated[
        str, typer.Option(help="mnist, digits (offline, scikit-learn's), or a folder of IDX files.")
    ] = "mnist",
    quick: Annotated[bool, typer.Option("--quick", help="A taste: 3 epochs, 50 steps, fewer networks.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Where all randomness starts.")] = 0,
    check: Annotated[
        Path | None, typer.Option(help="Recompute what can be recomputed of the results in this folder.")
    ] = None,
) -> None:
    """Reproduce chapter 5 of Nielsen's book: every figure and every number, on one page."""
    from undertow.studies import chapter5 as study

    if check:
        verdicts = study.check(check, data, console)
        console.print(*map(str, verdicts), sep="\n", soft_wrap=True)
        raise typer.Exit(any(verdict.holds is False for verdict in verdicts))
    try:
        page = study.run(out, study.Protocol.of(members, seed, quick), data, console)
    except KeyboardInterrupt:
        errors.print("undertow: stopped; nothing was written")
        raise typer.Exit(130) from None
    console.print(f"[bold]{page}[/bold] is the page, {out / 'results.json'} holds the numbers", soft_wrap=True)
