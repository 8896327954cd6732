"""The verdict: healthy, repaired, or nothing helps."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from undertow.doctoring.arms import STEP_LENGTHS
from undertow.doctoring.comparison import AGREEING, Comparison, Verdict
from undertow.doctoring.treatment import HEALTHY, NOTHING_HELPS, REPAIRED
from undertow.remedies import Remedy

LEARNED = 0.9
"""Part of the way from knowing nothing to the best arm that a training must have gone to be called healthy."""

UNFINISHED = 0.5
"""The same of a training in which nothing was found, that there was time for a part of only, and that steps of another
length alone are said to help: over fewer steps longer ones are ahead, whatever becomes of them at the end."""

APART = 3.0
"""Standard deviations between what was learned with the right targets and with mixed up ones."""

SEEN = 0.02
"""Part of the score's size by which learning must be seen, at least."""

Blind = Callable[[tuple[Remedy, ...]], Sequence[float]]
"""Scores of an arm whose targets are mixed up, empty where that can't be done."""


def judged(
    comparisons: Sequence[Comparison], blind: Blind, stands_still: bool = False, unfinished: bool = False
) -> tuple[str, Comparison | None]:
    """Return a verdict, and the comparison of what repaired it.

    A training that has gone nearly all the way that anything went is healthy, if it has learned anything; one is
    repaired by remedies that help and with which something is learned. A score that is reached with targets mixed up
    is none that was learned.

    Args:
        comparisons: of the finalists with the control.
        blind: scores of an arm with targets mixed up.
        stands_still: whether the loss was seen not to fall (UT704). Where targets can't be mixed up, or there was no
            time for it, such a training hasn't learned: a score above that of an untrained model is chance.
        unfinished: whether nothing was found in it, and trials had fewer steps than it has.
    """
    scored = [each for each in comparisons if each.seeds]
    if not scored:
        return NOTHING_HELPS, None
    helped = next((each for each in scored if each.verdict is Verdict.HELPS), None)
    treated = (helped.treated, helped.remedies) if helped else None
    if treated and not _learned(*treated, scored[0].start, blind):
        treated = helped = None
    control = scored[0].control
    if helped is None:
        at_chance = stands_still and not len(blind(()))
        learned = not at_chance and _learned(control, (), scored[0].start, blind)
        return (HEALTHY if learned else NOTHING_HELPS), None
    nothing = max([scored[0].start, *_known(blind(helped.remedies))])
    way = (float(np.mean(control)) - nothing) / (float(np.mean(helped.treated)) - nothing)
    faster = unfinished and all(each.code in STEP_LENGTHS for each in helped.remedies)
    return (HEALTHY, None) if way >= (UNFINISHED if faster else LEARNED) else (REPAIRED, helped)


def _known(scores: Sequence[float]) -> list[float]:
    return [float(np.mean(scores))] if len(scores) else []


def _learned(scores: Sequence[float], arm: tuple[Remedy, ...], start: float, blind: Blind) -> bool:
    """Tell whether most scores are above those of an untrained model, and of one trained with targets mixed up."""
    guessed = list(blind(arm)) if _above(scores, start) else []
    if not guessed:
        return _above(scores, start)
    apart = float(np.median(scores)) - float(np.median(guessed))
    return _above(scores, max(start, *guessed)) and apart > APART * math.hypot(_spread(scores), _chance(guessed))


def _above(scores: Sequence[float], level: float) -> bool:
    above = np.asarray(scores) > level
    return bool(above.mean() >= AGREEING and float(np.median(scores)) > level + SEEN * abs(level))


def _chance(guessed: Sequence[float]) -> float:
    """Return the standard deviation of what is guessed, at least; the lowest of several, which may be lost, left out.

    Most guesses are alike where one class is said of all: which one it is differs, and half of them don't tell.
    """
    kept = sorted(guessed)[1:] if len(guessed) > 3 else list(guessed)
    return max(_spread(guessed), float(np.std(kept, ddof=1)) if len(kept) > 1 else 0.0)


def _spread(scores: Sequence[float]) -> float:
    """Return the standard deviation that half of the scores speak for; one that was lost doesn't count."""
    return 1.4826 * float(np.median(np.abs(np.asarray(scores) - np.median(scores))))
