"""``undertow study``: an experiment from the literature, repeated and written up as a page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from undertow.studies.study import Study

EXAMPLE = "undertow study glorot2010 --quick"

console = Console(highlight=False)

Out = Annotated[
    Path | None, typer.Option(help="Folder for the page, the figures and the results; by default the study's name.")
]
Data = Annotated[str, typer.Option(help="mnist, digits (offline, scikit-learn's), or a folder of IDX files.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small part, in under a minute.")]
Seed = Annotated[int, typer.Option(min=0, help="Where all randomness starts.")]


def _names() -> list[str]:
    from undertow.studies import registry

    return list(registry.STUDIES)


def study(
    name: Annotated[
        str | None, typer.Argument(autocompletion=_names, help="Which one; without a name all are listed.")
    ] = None,
    out: Out = None,
    data: Data = "mnist",
    quick: Quick = False,
    seed: Seed = 0,
) -> None:
    """Repeat a paper's experiments: its numbers beside ours, on one page."""
    from undertow.studies import registry

    if name is None:
        for each in registry.STUDIES:
            typer.echo(f"{each:15} {registry.named(each).summary}")
        return
    carry_out(registry.named(name), out or Path(name), quick=quick, seed=seed, data=data)


def carry_out(chosen: "Study", folder: Path, **how: Any) -> None:
    """Run a study into a folder, and say where the page is, or what became of a run that was stopped.

    Args:
        chosen: the study.
        folder: of the page.
        how: as `undertow.studies.study.Study.run` takes it.
    """
    try:
        page = chosen.run(folder, console=console, **how)
    except KeyboardInterrupt:
        Console(stderr=True).print(f"undertow: stopped; {chosen.stopped}", soft_wrap=True)
        raise typer.Exit(130) from None
    console.print(f"[bold]{page}[/bold] is the page, {folder / 'results.json'} holds the numbers", soft_wrap=True)
