"""What is tried: single remedies, and those that are only right together."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from undertow.doctoring.trials import Arm
from undertow.remedies import Level, Remedy

PARTNERS = {
    Level.B: (Remedy("UR102", {"lr": 1e-3}), Remedy("UR103", {"norm": 1.0})),
    Level.C: (Remedy("UR102", {"lr": 1e-3}),),
}
"""What a new start, or a new architecture, often needs beside it: a step that fits. A deep network that was started
right is thrown far by its first steps under plain SGD (facts: 30 layers of ReLU with He's start, 0 of 3 seeds; with
Adam 3 of 3)."""

REFINEMENTS = tuple(Remedy("UR101", {"factor": factor}) for factor in (0.1, 10.0))


def first_arms(prescribed: Sequence[Remedy]) -> list[Arm]:
    """Return the arms of the first round: every remedy alone, then the urgent ones of levels B and C with a partner."""
    prescribed = [each for each in prescribed if not each.kind.by_hand]
    single: list[Arm] = [(each,) for each in prescribed]
    paired = [(each, other) for each in prescribed for other in PARTNERS.get(each.level, ()) if each.urgency >= URGENT]
    ranked = sorted([*single, *paired], key=lambda arm: (-arm[0].urgency, len(arm)))
    return _once(ranked)


URGENT = 0.5


def second_arms(best: Sequence[Arm]) -> list[Arm]:
    """Return the arms of the second round: the best of the first, pairs of them, and the best with another step."""
    pairs = [one + other for one, other in combinations(best[:3], 2) if _fit(one, other)]
    refined = [best[0] + (each,) for each in REFINEMENTS if best and _fit(best[0], (each,))]
    return _once([*best, *pairs, *refined])


def _fit(one: Arm, other: Arm) -> bool:
    """Whether two arms can be applied one after the other: no kind twice."""
    codes = [each.code for each in one + other]
    return len(set(codes)) == len(codes)


def _once(arms: Iterable[Arm]) -> list[Arm]:
    found: dict[frozenset[Remedy], Arm] = {}
    for arm in arms:
        found.setdefault(frozenset(arm), arm)
    return list(found.values())


def simplicity(arm: Arm) -> tuple[int, int]:
    """Return what to prefer of arms that do equally well: fewer remedies, and those that change less."""
    return len(arm), sum("ABCD".index(each.level) for each in arm)
