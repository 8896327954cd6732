"""``undertow study``: an experiment from the literature, repeated and written up as a page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(highlight=False)


def study(
    name: Annotated[str, typer.Argument(help="Which one; a name that there isn't lists those there are.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page, the figures and the results; by default the study's name.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="mnist, digits (offline, scikit-learn's), or a folder of IDX files.")
    ] = "mnist",
    quick: Annotated[bool, typer.Option("--quick", help="A taste, in under a minute.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Where all randomness starts.")] = 0,
) -> None:
    """Repeat a paper's experiments: its numbers beside ours, on one page."""
    from undertow.studies import registry
    from undertow.studies.study import Scale

    chosen, folder = registry.named(name), out or Path(name)
    try:
        page = chosen.run(folder, Scale(seed, quick), data, console)
    except KeyboardInterrupt:
        Console(stderr=True).print(f"undertow: stopped; {chosen.stopped}", soft_wrap=True)
        raise typer.Exit(130) from None
    console.print(f"[bold]{page}[/bold] is the page, {folder / 'results.json'} holds the numbers", soft_wrap=True)
