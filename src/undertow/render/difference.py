"""Compare two diagnoses: what became of each layer's backward gain, and which findings came and went."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.formatting import terse
from undertow.record import Finding, Run
from undertow.render.loss_end import loss_end
from undertow.render.segments import Segment, segments
from undertow.render.verdict import is_fault, verdict

WORTH_SHOWING = 0.005
"""Decades: what changed less is counted and not listed."""


@dataclass(frozen=True)
class Pair:
    """Gains of one layer or join in both diagnoses; None where the other one has no Site of that name.

    Attributes:
        name: of the Site, numbered from its second call on.
        before, after: from there to the next layer or join.
    """

    name: str
    before: Segment | None
    after: Segment | None

    @property
    def change(self) -> float:
        """Decades by which the gain is larger in the second report; nan if it isn't in both, or not a number."""
        if self.before is None or self.after is None:
            return math.nan
        gains = self.before.gain, self.after.gain
        return math.log10(gains[1] / gains[0]) if all(0 < gain < math.inf for gain in gains) else math.nan

    @property
    def cause(self) -> str:
        """The cause whose factor changed most in the direction of the change; empty where there is no change."""
        if self.before is None or self.after is None or not self.change:
            return ""
        old, new = self.before.decades, self.after.decades
        sign = math.copysign(1.0, self.change)
        return max({**old, **new}, key=lambda cause: sign * (new.get(cause, 0.0) - old.get(cause, 0.0)), default="")


@dataclass(frozen=True)
class Difference:
    """The differences of a second report from a first.

    Attributes:
        pairs: every layer and join of either gradient path, in the first one's order, then the second one's own.
        gone: findings that only the first has (compared by code and place; in runs over time by code and name, as the
            worst place may be another one at each step).
        new: findings that only the second has.
        kept: findings of the second that the first has, too.
    """

    pairs: tuple[Pair, ...]
    gone: tuple[Finding, ...]
    new: tuple[Finding, ...]
    kept: tuple[Finding, ...]


def difference(before: Diagnosis, after: Diagnosis) -> Difference:
    """Match two diagnoses: Sites by name, findings by code and place.

    Example:
        >>> from undertow.record import Run
        >>> empty = Diagnosis(Run({}, ()))
        >>> difference(empty, empty)
        Difference(pairs=(), gone=(), new=(), kept=())
    """
    old, new = ({segment.label: segment for segment in segments(each, most=None)} for each in (before, after))
    pairs = tuple(Pair(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new]))
    places = _places(before.findings), _places(after.findings)
    return Difference(
        pairs,
        gone=tuple(f for f in before.findings if _place(f) not in places[1]),
        new=tuple(f for f in after.findings if _place(f) not in places[0]),
        kept=tuple(f for f in after.findings if _place(f) in places[0]),
    )


def _places(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    return set(map(_place, findings))


def _place(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.where if finding.began is None else finding.name


def compared_figures(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return how far each of several runs through time got, a name and a number of each a row; empty for reports.

    Example:
        >>> run = Run({}, (), scalars={"step": np.arange(9.0), "loss": 9 - np.arange(9.0)})
        >>> compared_figures([run, run])[:2]
        [('last step', '8', '8'), ('loss, last tenth', '1.00', '1.00')]
    """
    if not all(run.scalars for run in runs):
        return []
    rows = _diverged(runs)
    for name, read in FIGURES.items():
        values = [read(RunHistory(run)) for run in runs]
        if not any(map(math.isnan, values)):
            rows.append((name, *(f"{value:,.0f}" if name in WHOLE else terse(value) for value in values)))
    return rows


def _diverged(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    ends = [loss_end(run) for run in runs]
    if not any(each.lost for each in ends):
        return []
    return [("diverged", *(f"after {each.step:,.0f}" if each.lost else "no" for each in ends))]


def in_short(diagnosis: Diagnosis) -> str:
    """Say what a diagnosis comes to; of a fault its name alone, as it is told in full among those that went or came.

    Example:
        >>> in_short(Diagnosis(Run({}, ())))
        'no weights. No gradient goes through any layer with weights.'
    """
    words, said = verdict(diagnosis)
    faults = [each for each in diagnosis.findings if is_fault(each)]
    if not faults:
        return f"{words}. {said}"
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{words} ({faults[0].code} {faults[0].severity}{more})"


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
