"""Render two diagnoses side by side for the terminal."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.record import Finding, Run
from undertow.render.difference import Difference, Pair, difference
from undertow.render.segments import Segment
from undertow.render.terminal import Column, Screen, fitted, printed
from undertow.render.terminal_findings import blocks
from undertow.render.verdict import by_cause, verdict

WORTH_SHOWING = 0.005
"""Decades: what changed less is counted and not listed."""


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
    verdicts = []
    for sign, (name, diagnosis) in zip("-+", (before, after), strict=True):
        words, sentence = verdict(diagnosis)
        verdicts.append(Text(f"{sign} {name}: {words}. {sentence}", SIGNS[sign]))
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
    if not all(run.scalars for run in runs):
        return []
    rows = []
    for name, read in FIGURES.items():
        values = [read(RunHistory(run)) for run in runs]
        if not any(map(math.isnan, values)):
            rows.append([name, *(f"{value:,.0f}" if name in WHOLE else terse(value) for value in values)])
    return [_table(("", "before", "after"), rows, on)] if rows else []


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], on: Screen) -> RenderableType:
    first, *others = (
        Column(name, [row[place] for row in rows], -place, right=name not in WORDS) for place, name in enumerate(names)
    )
    return fitted(first, others, on.width)


def _last(name: str) -> Callable[[RunHistory], float]:
    def read(history: RunHistory) -> float:
        """Return the median of the last tenth: a single batch says little."""
        values = history.scalar(name).values
        return float(np.median(values[-max(len(values) // 10, 1) :])) if len(values) else math.nan

    return read


def _lowest(history: RunHistory) -> float:
    return float(history.loss.values.min()) if len(history.loss.values) else math.nan


def _reached(history: RunHistory) -> float:
    steps = history.scalar("step").values
    return float(steps[-1]) if len(steps) else math.nan


FIGURES: dict[str, Callable[[RunHistory], float]] = {
    "last step": _reached,
    "loss, last tenth": _last("loss"),
    "lowest loss": _lowest,
    "gradient norm, last tenth": _last("grad_norm"),
    "learning rate, last tenth": _last("lr"),
    "seconds a step": _last("step_seconds"),
}
WHOLE = ("last step",)
WORDS = ("", "layer", "because of")
SIGNS = {"-": "red", "+": "green"}


def _gains(found: Difference, on: Screen) -> list[RenderableType]:
    changed = [pair for pair in found.pairs if not abs(pair.change) < WORTH_SHOWING]
    names = ("layer", "passed on", "passes on", "decades", "because of")
    parts = [_table(names, [_cells(pair) for pair in changed], on)] if changed else []
    alike = len(found.pairs) - len(changed)
    if alike:
        parts.append(Text(f"{alike} of {len(found.pairs)} layers and joins pass on what they did, within 1 %"))
    return parts


def _cells(pair: Pair) -> tuple[str, ...]:
    change = "" if math.isnan(pair.change) else f"{pair.change:+.2f}"
    return pair.name, _gain(pair.before), _gain(pair.after), change, pair.cause


def _gain(segment: Segment | None) -> str:
    return "not there" if segment is None else f"x {terse(segment.gain)}"
