"""Render two diagnoses side by side for the terminal."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.record import Finding, Run
from undertow.render.difference import Difference, Pair, difference
from undertow.render.segments import Segment
from undertow.render.verdict import verdict

WORTH_SHOWING = 0.005
"""Decades: what changed less is counted and not listed."""


def show(before: tuple[str, Diagnosis], after: tuple[str, Diagnosis], console: Console) -> None:
    """Print both verdicts, how far each got, the gains that changed, and findings that came and went.

    Args:
        before, after: what each is called, and its diagnosis.
        console: where to print; without markup.
    """
    for sign, (name, diagnosis) in zip("-+", (before, after), strict=True):
        words, sentence = verdict(diagnosis)
        console.print(f"{sign} {name}: {words}. {sentence}", soft_wrap=True)
    console.print()
    _print_scalars(console, [before[1].run, after[1].run])
    found = difference(before[1], after[1])
    _print_gains(console, found)
    for sign, findings in (("-", found.gone), ("+", found.new), (" ", found.kept)):
        _print_findings(console, sign, findings)


def _print_scalars(console: Console, runs: Sequence[Run]) -> None:
    """Print how far each got, where both are runs through time."""
    if not all(run.scalars for run in runs):
        return
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="")
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, read in FIGURES.items():
        values = [read(RunHistory(run)) for run in runs]
        if not any(map(math.isnan, values)):
            table.add_row(name, *(f"{value:,.0f}" if name in WHOLE else terse(value) for value in values))
    console.print(table)
    console.print()


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


def _print_gains(console: Console, found: Difference) -> None:
    changed = [pair for pair in found.pairs if not abs(pair.change) < WORTH_SHOWING]
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="")
    for name in ("layer", "passed on", "passes on", "decades", "because of"):
        table.add_column(name, justify="left" if name in ("layer", "because of") else "right", no_wrap=True)
    for pair in changed:
        table.add_row(*_cells(pair))
    if changed:
        console.print(table)
    alike = len(found.pairs) - len(changed)
    if alike:
        console.print(f"{alike} of {len(found.pairs)} layers and joins pass on what they did, within 1 %")
    console.print()


def _cells(pair: Pair) -> tuple[str, ...]:
    change = "" if math.isnan(pair.change) else f"{pair.change:+.2f}"
    return pair.name, _gain(pair.before), _gain(pair.after), change, pair.cause


def _gain(segment: Segment | None) -> str:
    return "not there" if segment is None else f"x {terse(segment.gain)}"


def _print_findings(console: Console, sign: str, findings: Sequence[Finding]) -> None:
    for finding in findings:
        console.print(f"{sign} {finding.code} {finding.severity}: {finding.span}{finding.message}", soft_wrap=True)
