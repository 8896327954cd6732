"""``undertow remedy``: explain a remedy."""

from typing import Annotated

import typer

EXAMPLE = "undertow remedy UR101"


def remedy(
    code: Annotated[str | None, typer.Argument(help="As in UR101; without one, all remedies are listed.")] = None,
) -> None:
    """Tell what a remedy changes, when it is prescribed, what it is predicted to do, and where it comes from."""
    from undertow.commands._sections import print_sections
    from undertow.remedies import KINDS
    from undertow.remedies.explained import sections

    if code is None:
        for each in sorted(KINDS.values(), key=lambda known: known.code):
            typer.echo(f"{each.code}  {each.level}  {each.name}")
        return
    if code.upper() not in KINDS:
        raise ValueError(f"there is no remedy {code!r}; `undertow remedy` lists them")
    chosen = KINDS[code.upper()]
    level = f"(level {chosen.level}: {chosen.level.meaning})"
    print_sections(f"[bold]{chosen.code}  {chosen.name}[/bold]  {level}\n", sections(chosen))
