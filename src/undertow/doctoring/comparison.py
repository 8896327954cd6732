"""`Comparison`: a remedy against none, on the same seeds, with an interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import stats

from undertow.remedies import Remedy

SURE = 0.05
"""Corrected p under which an effect is taken for real."""

MATTERS = 0.05
"""Part of what the training gained that an effect must make to be told of."""

AGREEING = 0.8
"""Share of the seeds in which the effect must have its sign."""


ROUNDING = 1e-9
"""Spread of the differences, as a part of their mean, that is none."""


class Verdict(StrEnum):
    """Hold what a comparison says."""

    HELPS = "HELPS"
    NO_EFFECT = "NO EFFECT"
    HARMS = "HARMS"
    UNTESTED = "UNTESTED"


@dataclass(frozen=True)
class Comparison:
    """A remedy, or several together, against the training as it is: paired, seed by seed.

    Attributes:
        remedies: what was tried.
        seeds: of the pairs.
        control, treated: scores at the end, [seeds]; larger is better. A training that diverged has that of its start.
        start: mean score of the untrained model.
        interval: of the mean difference, 95 %.
        p: how likely a difference as large is without an effect, Holm-corrected.
        verdict: what follows.
        seconds: that a trial of the control and of the treated took, medians.

    Example:
        >>> found = compare((), [0, 1, 2], [0.1, 0.12, 0.09], [0.9, 0.92, 0.91], start=0.1)
        >>> found.verdict, round(found.effect, 2)
        (<Verdict.HELPS: 'HELPS'>, 0.81)
    """

    remedies: tuple[Remedy, ...]
    seeds: tuple[int, ...]
    control: tuple[float, ...]
    treated: tuple[float, ...]
    start: float
    interval: tuple[float, float]
    p: float
    verdict: Verdict
    seconds: tuple[float, float] = (math.nan, math.nan)

    @property
    def effect(self) -> float:
        """Mean difference of the scores."""
        return float(np.mean(np.subtract(self.treated, self.control))) if self.seeds else math.nan

    def __str__(self) -> str:
        names = " + ".join(f"{each.code} {each.name}" for each in self.remedies) or "no remedy"
        if self.verdict is Verdict.UNTESTED:
            return f"{self.verdict}: {names}"
        low, high = self.interval
        return (
            f"{self.verdict}: {names}: score {np.mean(self.control):.3g} -> {np.mean(self.treated):.3g} "
            f"({self.effect:+.3g}, 95 % interval {low:+.3g} to {high:+.3g}, {len(self.seeds)} seeds)"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "remedies": [each.to_dict() for each in self.remedies],
            "seeds": list(self.seeds),
            "control": list(self.control),
            "treated": list(self.treated),
            "start": self.start,
            "effect": self.effect,
            "interval": list(self.interval),
            "p": self.p,
            "verdict": str(self.verdict),
            "seconds": list(self.seconds),
        }


def compare(
    remedies: Sequence[Remedy],
    seeds: Sequence[int],
    control: Sequence[float],
    treated: Sequence[float],
    start: float,
    seconds: tuple[float, float] = (math.nan, math.nan),
) -> Comparison:
    """Compare paired scores by a paired t test (Student 1908), as if nothing else were compared; see `corrected`.

    Args:
        remedies: that ``treated`` had.
        seeds: of the pairs.
        control, treated: scores, [seeds].
        start: mean score of the untrained model, by which is judged whether a difference matters.
        seconds: that trials took.
    """
    if len(seeds) < 2:
        return Comparison(
            tuple(remedies), tuple(seeds), tuple(control), tuple(treated), start, (math.nan, math.nan), math.nan,
            Verdict.UNTESTED, seconds,
        )  # fmt: skip
    difference = np.subtract(treated, control)
    p, interval = _tested(difference)
    verdict = _verdict(difference, p, max(float(np.mean(treated)), float(np.mean(control))) - start)
    return Comparison(
        tuple(remedies), tuple(seeds), tuple(control), tuple(treated), start, interval, p, verdict, seconds
    )


def corrected(comparisons: Sequence[Comparison], spent: float = 1.0) -> list[Comparison]:
    """Correct comparisons for how many there are (`holm`), and judge them again.

    Args:
        comparisons: with p as `compare` gives it; those that are untested don't count.
        spent: part of the error that may be made here, where something is looked at more than once.

    Example:
        >>> found = [compare((), [0, 1, 2], [0.1, 0.12, 0.09], [0.3, 0.44, 0.24], start=0.1)] * 2
        >>> [str(each.verdict) for each in corrected(found)], str(found[0].verdict)
        (['NO EFFECT', 'NO EFFECT'], 'HELPS')
    """
    tested = [place for place, each in enumerate(comparisons) if each.verdict is not Verdict.UNTESTED]
    surer = dict(zip(tested, holm([comparisons[place].p for place in tested]), strict=True))
    return [
        _judged_again(each, min(1.0, surer[place] / spent)) if place in surer else each
        for place, each in enumerate(comparisons)
    ]


def _judged_again(comparison: Comparison, p: float) -> Comparison:
    better = max(float(np.mean(comparison.treated)), float(np.mean(comparison.control)))
    difference = np.subtract(comparison.treated, comparison.control)
    return replace(comparison, p=p, verdict=_verdict(difference, p, better - comparison.start))


def _tested(difference: np.ndarray[Any, Any]) -> tuple[float, tuple[float, float]]:
    """Return the two-sided p and the 95 % interval of the mean difference."""
    mean, error = float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(difference)))
    if error <= ROUNDING * abs(mean):
        return (1.0 if mean == 0 else 0.0), (mean, mean)
    student = stats.t(len(difference) - 1)
    reach = error * float(student.ppf(0.975))
    return 2 * float(student.sf(abs(mean) / error)), (mean - reach, mean + reach)


def _verdict(difference: np.ndarray[Any, Any], p: float, gained: float) -> Verdict:
    """``gained``: what the better of the two gained over an untrained model."""
    mean = float(difference.mean())
    agreeing = float((np.sign(difference) == np.sign(mean)).mean())
    if p > SURE or agreeing < AGREEING or abs(mean) < MATTERS * abs(gained):
        return Verdict.NO_EFFECT
    return Verdict.HELPS if mean > 0 else Verdict.HARMS


def holm(comparisons: Sequence[float]) -> list[float]:
    """Return p values corrected for how many there are (Holm 1979), in their order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(comparisons)
    corrected, highest = [0.0] * len(comparisons), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, (len(comparisons) - rank) * comparisons[place])
        corrected[place] = round(min(1.0, highest), 12)
    return corrected
