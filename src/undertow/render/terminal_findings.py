"""Write findings for the terminal: what is wrong, how bad, what to type; what follows from it in a line beneath."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from undertow.record import Finding, Severity, folded
from undertow.render.labels import near
from undertow.render.terminal import PROSE, Code, Screen
from undertow.wording import sentence

COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
CODE_INDENT = 4

Details = Callable[[Finding], str]
"""Says more of a finding, in numbers; empty where there is no more."""


def no_details(_: Finding) -> str:
    """Say nothing more."""
    return ""


def blocks(findings: Sequence[Finding], on: Screen, details: Details = no_details) -> list[RenderableType]:
    """Return one block for each finding that nothing else explains, the worst first.

    Args:
        findings: the worst first.
        on: where they are shown.
        details: what stands under a finding's sentence.
    """
    seen: dict[str, str] = {}
    return [Group(*_lines(finding, rest, on, details, seen)) for finding, rest in folded(findings)]


def _lines(
    finding: Finding, rest: Sequence[Finding], on: Screen, details: Details, seen: dict[str, str]
) -> Iterator[RenderableType]:
    yield _heading(finding)
    yield _prose(sentence(f"{finding.span}{finding.message}{_confidence(finding)}"), on)
    if said := details(finding):
        yield _prose(said, on, "dim")
    yield from _remedy(finding, on, seen)
    yield _prose(f"more: undertow rule {finding.code}", on, "dim")
    if rest:
        names = ", ".join(f"{each.code} {each.severity} ({each.name})" for each in rest)
        yield _prose(f"follows from it: {names}", on)


def _heading(finding: Finding) -> Text:
    text = Text(finding.name.upper() if finding.severity is not Severity.NOTE else finding.name)
    text.stylize(COLOURS[finding.severity])
    text.append(f"   {finding.code} {finding.severity}")
    text.append(f", {near(finding.source)}" if finding.source else "", "dim")
    bad = finding.severity is not Severity.NOTE
    return text.append(f": {finding.severity.meaning}", "dim") if bad else text


def _confidence(finding: Finding) -> str:
    if finding.confidence == 1:
        return ""
    return f" In {finding.confidence:.0%} of the {'passes' if finding.began is None else 'steps measured'}."


def _remedy(finding: Finding, on: Screen, seen: dict[str, str]) -> Iterator[RenderableType]:
    """Return the advice and the lines to type; lines that stand above already are named by the finding they are of."""
    first = seen.setdefault(finding.snippet, finding.code)
    if finding.snippet and first != finding.code:
        yield _prose(f"What to type is the same as for {first}.", on)
        return
    if finding.advice:
        yield Text("")
        yield _prose(finding.advice, on)
    if finding.snippet:
        yield Text("")
        yield Code(finding.snippet, CODE_INDENT)
    if finding.advice or finding.snippet:
        yield Text("")


def _prose(text: str, on: Screen, style: str = "") -> RenderableType:
    """Return sentences broken where lines get too long to read."""
    beyond = max(0, on.width - 2 - PROSE)
    return Padding(Text(text, style), (0, beyond, 0, 0))


def counts(findings: Iterable[Finding]) -> str:
    """Count findings by severity, the worst first.

    Example:
        >>> counts([Finding("UT101", "", Severity.ERROR, (), "", ""), Finding("UT601", "", Severity.NOTE, (), "", "")])
        '1 error, 1 note'
    """
    severities = [each.severity for each in findings]
    many = [(severities.count(each), str(each)) for each in reversed(Severity)]
    return ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in many if count)
