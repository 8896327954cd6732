"""``undertow rule``: explain a rule."""

from typing import Annotated

import typer

EXAMPLE = "undertow rule UT101"


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
    from undertow.commands._sections import print_sections
    from undertow.rules import RULES
    from undertow.rules.explained import sections
    from undertow.silence import known_code

    if code is None:
        for each in sorted(RULES.values(), key=lambda known: known.code):
            typer.echo(f"{each.code}  {each.name:22}  {sections(each)['']}")
        return
    chosen = RULES[known_code(code.upper())]
    print_sections(f"[bold]{chosen.code}  {chosen.name}[/bold]", sections(chosen))
