"""Render what a doctor found out for the terminal: the answer first, then what was wrong, tried, and is to be typed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from undertow.formatting import terse
from undertow.record import Finding, Severity, folded
from undertow.render.terminal import Code, Screen, printed

MOST_FINDINGS, MOST_BY_HAND = 5, 4
INDENT, CODE_INDENT = 2, 4

STYLES = {"HELPS": "green", "HARMS": "red"}


def text(told: Mapping[str, Any], on: Screen | None = None) -> str:
    """Return what ``print(treatment)`` shows.

    Args:
        told: a treatment as JSON values.
        on: where it will be printed.

    Example:
        >>> print(text({"headline": "Nothing that was tried helps.", "summary": "", "findings": [], "comparisons": [],
        ...             "attempts": [], "steps": 9, "seconds": 2, "snippet": "", "by_hand": [], "notes": []}))
          Nothing that was tried helps.
        <BLANKLINE>
          What was tried (0 remedies and pairs were looked at, none on fresh seeds; 9 steps, 2 s)
        <BLANKLINE>
    """
    answer = [Text(told["headline"], "bold"), *([Text(told["summary"])] if told["summary"] else [])]
    parts: list[RenderableType] = [Group(*answer)]
    parts += [Group(*lines) for lines in (_wrong(told), _tried(told), _pasted(told), _left(told)) if lines]
    return printed([*parts, *(Text(note) for note in told["notes"])], on)


def _wrong(told: Mapping[str, Any]) -> list[RenderableType]:
    found = [Finding.from_dict(each) for each in told["findings"]]
    serious = [each for each in found if each.severity is not Severity.NOTE][:MOST_FINDINGS]
    if not serious:
        return []
    lines: list[RenderableType] = [Text("What was wrong", "bold")]
    for finding, rest in folded(serious):
        lines.append(_item(f"{finding.code} {finding.severity}: {finding.span}{finding.message}"))
        if rest:
            names = ", ".join(f"{each.code} {each.name}" for each in rest)
            lines.append(_item(f"follows from it: {names}", 2 * INDENT))
    return lines


def _tried(told: Mapping[str, Any]) -> list[RenderableType]:
    fresh = len(told["comparisons"])
    tried = f"{len(told['attempts'])} remedies and pairs were looked at, {fresh or 'none'} on fresh seeds"
    heading = f"What was tried ({tried}; {told['steps']} steps, {told['seconds']:.0f} s)"
    return [Text(heading, "bold"), *_compared(told["comparisons"], told.get("measure", "score"))]


def _compared(comparisons: Iterable[Mapping[str, Any]], measure: str) -> Iterator[RenderableType]:
    sign = -1 if measure == "loss" else 1  # a score is larger where it is better; a loss is told as it is
    for each in comparisons:
        names = " + ".join(f"{remedy['code']} {remedy['name']}" for remedy in each["remedies"]) or "no remedy"
        line = Text(each["verdict"], STYLES.get(each["verdict"], "")).append(f"  {names}", "default")
        if each["effect"] is not None:
            before, after = (terse(sign * sum(each[k]) / len(each[k])) for k in ("control", "treated"))
            low, high = sorted(sign * bound for bound in each["interval"])
            line.append(
                f": {measure} {before} -> {after} (by {terse(low)} to {terse(high)}, {len(each['seeds'])} seeds)"
            )
        yield Padding(line, (0, 0, 0, INDENT))


def _pasted(told: Mapping[str, Any]) -> list[RenderableType]:
    return [Text("What to paste", "bold"), Text(""), Code(told["snippet"], CODE_INDENT)] if told["snippet"] else []


def _left(told: Mapping[str, Any]) -> list[RenderableType]:
    rows = [_item(f"{each['code']} {each['name']}: {each['reason']}") for each in told["by_hand"][:MOST_BY_HAND]]
    return [Text("What is left to try by hand", "bold"), *rows] if rows else []


def _item(said: str, indent: int = INDENT) -> Padding:
    return Padding(Text(said), (0, 0, 0, indent))
