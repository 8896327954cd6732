"""Render two diagnoses side by side for the terminal."""

import math
from collections.abc import Sequence
from functools import partial

from rich.console import Group, RenderableType
from rich.text import Text

from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.record import Finding, Run
from undertow.render.difference import WORTH_SHOWING, Difference, Pair, compared_figures, difference, in_short
from undertow.render.segments import Segment
from undertow.render.terminal import Column, Screen, fitted, printed
from undertow.render.terminal_findings import blocks
from undertow.render.verdict import by_cause


def text(before: tuple[str, Diagnosis], after: tuple[str, Diagnosis], on: Screen | None = None) -> str:
    """Return both verdicts, findings that came and went, how far each got, and the gains that changed.

    Args:
        before, after: what each is called, and its diagnosis.
        on: where it is shown; 100 columns without colour unless given.

    Example:
        >>> print(text(("a.json", Diagnosis(Run({}, ()))), ("b.json", Diagnosis(Run({}, ())))))
          - a.json: no weights. No gradient goes through any layer with weights.
          + b.json: no weights. No gradient goes through any layer with weights.
        <BLANKLINE>
    """
    on, found = on or Screen(), difference(before[1], after[1])
    signed = zip("-+", (before, after), strict=True)
    verdicts = [Text(f"{sign} {name}: {in_short(diagnosis)}", SIGNS[sign]) for sign, (name, diagnosis) in signed]
    parts: list[RenderableType] = [Group(*verdicts)]
    parts += [Text(f"new in {after[0]}:")] if found.new else []
    parts += blocks(found.new, on, partial(by_cause, after[1]))
    others = [_line(sign, each) for sign, those in (("-", found.gone), (" ", found.kept)) for each in those]
    parts += [Group(*others)] if others else []
    return printed([*parts, *_scalars([before[1].run, after[1].run], on), *_gains(found, on)], on)


def _line(sign: str, finding: Finding) -> Text:
    return Text(f"{sign} {finding.code} {finding.severity}: {finding.span}{finding.message}", SIGNS.get(sign, ""))


def _scalars(runs: Sequence[Run], on: Screen) -> list[RenderableType]:
    """Return how far each got, where both are runs through time."""
    rows = compared_figures(runs)
    return [_table(("", "before", "after"), rows, on)] if rows else []


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], on: Screen) -> RenderableType:
    first, *others = (
        Column(name, [row[place] for row in rows], -place, right=name not in WORDS) for place, name in enumerate(names)
    )
    return fitted(first, others, on.width)


WORDS = ("", "layer", "because of")
SIGNS = {"-": "red", "+": "green"}


def _gains(found: Difference, on: Screen) -> list[RenderableType]:
    changed = [pair for pair in found.pairs if not abs(pair.change) < WORTH_SHOWING]
    names = ("layer", "before", "after", "decades", "because of")
    heading = Text("what each layer passes on of the gradient:")
    parts: list[RenderableType] = (
        [Group(heading, _table(names, [_cells(pair) for pair in changed], on))] if changed else []
    )
    alike = len(found.pairs) - len(changed)
    if alike:
        parts.append(Text(f"{alike} of {len(found.pairs)} layers and joins pass on what they did, within 1 %"))
    return parts


def _cells(pair: Pair) -> tuple[str, ...]:
    change = "" if math.isnan(pair.change) else f"{pair.change:+.2f}"
    return pair.name, _gain(pair.before), _gain(pair.after), change, pair.cause


def _gain(segment: Segment | None) -> str:
    return "not there" if segment is None else f"x {terse(segment.gain)}"
