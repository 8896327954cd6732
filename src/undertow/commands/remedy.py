"""``undertow remedy``: explain a remedy."""

from typing import Annotated

import typer
from rich.console import Console

EXAMPLE = "undertow remedy UR101"

WIDTH = 96


def remedy(
    code: Annotated[str | None, typer.Argument(help="As in UR101; without one, all remedies are listed.")] = None,
) -> None:
    """Tell what a remedy changes, when it is prescribed, what it is predicted to do, and where it comes from."""
    from rich.markdown import Markdown
    from rich.padding import Padding

    from undertow.remedies import KINDS
    from undertow.remedies.explained import sections

    if code is None:
        for each in sorted(KINDS.values(), key=lambda known: known.code):
            typer.echo(f"{each.code}  {each.level}  {each.name}")
        return
    if code.upper() not in KINDS:
        raise ValueError(f"there is no remedy {code!r}; `undertow remedy` lists them")
    chosen = KINDS[code.upper()]
    console = Console(highlight=False)
    console.print(f"\n[bold]{chosen.code}  {chosen.name}[/bold]  (level {chosen.level}: {chosen.level.meaning})")
    width = min(console.width, WIDTH)
    for name, words in sections(chosen).items():
        console.print(f"\n[bold]{name}[/bold]" if name else "")
        console.print(Padding(Markdown(words.replace("``", "`")), (0, 0, 0, 2 if name else 0)), width=width)
    console.print()
