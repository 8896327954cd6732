"""``undertow demo``: see all of undertow in a minute, on a network of its own."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "undertow demo --out demo --open"
USUAL = "30s"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pages.")] = Path("undertow-demo"),
    budget: Annotated[
        str | None, typer.Option(help="How long the doctor may take: 30s, 2m. [default: 30s; 3m if that is too little]")
    ] = None,
    open_pages: Annotated[bool, typer.Option("--open", help="Open the pages in a browser at the end.")] = False,
) -> None:
    """Examine, treat and mend a network that doesn't learn, in about a minute: no network, no files of your own.

    A small convolutional network is to read digits and doesn't learn to. Every step leaves a page.
    """
    from undertow.doctoring.budget import seconds_of

    if budget is not None:
        seconds_of(budget)  # before torch's first step: a wrong word is told at once
    from undertow.demonstration import digits_cnn
    from undertow.demonstration.showing import TRY_INSTEAD, Demonstration

    source = Path(digits_cnn.__file__)
    typer.echo(f"Data: {digits_cnn.data.origin}, {len(digits_cnn.data.y):,} to train with.\n")
    shown = Demonstration(digits_cnn.training(), out, lambda text: typer.echo(f"{text}\n"))
    pages = shown.run(budget or USUAL, source, "" if budget else TRY_INSTEAD)
    typer.echo("The pages, which open without a network:")
    for page in pages:
        typer.echo(f"   {page.path}  {page.shows}")
        if open_pages:
            typer.launch(page.path.resolve().as_uri())
    typer.echo(f"\nThe network is in {out / source.name}, yours to change. On it, and on your own file:")
    typer.echo(f"   undertow examine {out / source.name}:training")
    typer.echo(f"   undertow doctor {out / source.name}:training --budget 5m")
    if (run := out / "5-training-mended.undertow").exists():  # the doctor had time enough
        typer.echo(f"   undertow show {run}")
