"""``undertow rule``: explain a rule."""

from typing import Annotated

import typer
from rich.console import Console

EXAMPLE = "undertow rule UT101"

WIDTH = 96


def _codes() -> list[str]:
    from undertow.rules import RULES

    return sorted(RULES)


def rule(
    code: Annotated[
        str | None,
        typer.Argument(autocompletion=_codes, help="As in UT101; without one, all rules are listed."),
    ] = None,
) -> None:
    """Explain a rule: what its code means, why that is bad, what to do, and where it comes from."""
    from rich.markdown import Markdown
    from rich.padding import Padding

    from undertow.rules import RULES
    from undertow.rules.explained import sections
    from undertow.silence import known_code

    console = Console(highlight=False)
    if code is None:
        for each in sorted(RULES.values(), key=lambda known: known.code):
            typer.echo(f"{each.code}  {each.name:22}  {sections(each)['']}")
        return
    chosen = RULES[known_code(code.upper())]
    explained = sections(chosen)
    console.print(f"\n[bold]{chosen.code}  {chosen.name}[/bold]")
    width = min(console.width, WIDTH)
    console.print(Markdown(explained.pop("")), width=width)
    for name, words in explained.items():
        console.print(f"\n[bold]{name}[/bold]")
        console.print(Padding(Markdown(words.replace("``", "`")), (0, 0, 0, 2)), width=width)
    console.print()
