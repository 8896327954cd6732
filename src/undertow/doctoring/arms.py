"""List what is tried: single remedies, and those that are only right together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

from undertow.doctoring.trials import Arm
from undertow.remedies import Level, Remedy

PARTNERS = {
    Level.A: (Remedy("UR102", {"lr": 1e-3}),),
    Level.B: (Remedy("UR102", {"lr": 1e-3}), Remedy("UR103", {"norm": 1.0})),
    Level.C: (Remedy("UR102", {"lr": 1e-3}),),
    Level.D: (Remedy("UR102", {"lr": 1e-3}),),
}
"""What a new start, architecture or objective often needs beside it: a step that fits. A deep network that was started
right is thrown far by its first steps under plain SGD (facts: 30 layers of ReLU with He's start, 0 of 3 seeds; with
Adam 3 of 3)."""

URGENT, LIKELY, CERTAIN = 0.5, 0.8, 0.95
"""Of that urgency or more, a remedy gets a partner; one of level A does; any gets one more, with longer steps, as for a
short training."""

STEP_LENGTHS = {"UR101": "factor", "UR102": "lr"}
"""Remedies of level A that are a length of steps by themselves, and which of their numbers it is."""

ALIKE = 2.0
"""Ratio of two lengths of steps under which a confirmation of both would say little more than one of one."""

LONGER = Remedy("UR102", {"lr": 1e-2})

NEAR, FAR = (1 / 3, 3.0), (0.1, 10.0)
"""Factors of a good arm's steps that are tried beside it."""


def first_arms(prescribed: Sequence[Remedy]) -> list[Arm]:
    """Return the arms of the first round: every remedy alone, then the urgent ones with a partner, by urgency."""
    prescribed = [each for each in prescribed if not each.kind.by_hand]
    single: list[Arm] = [(each,) for each in prescribed]
    paired = [(each, other) for each in prescribed for other in _partners(each)]
    ranked = sorted([*single, *paired], key=lambda arm: (-arm[0].urgency + 0.2 * (len(arm) - 1), len(arm)))
    return _once([*_all_exact(prescribed), *ranked])


def _partners(remedy: Remedy) -> tuple[Remedy, ...]:
    enough = LIKELY if remedy.level is Level.A else URGENT
    if remedy.urgency < enough or remedy.code in STEP_LENGTHS:
        return ()
    return (*PARTNERS[remedy.level], *([LONGER] if remedy.urgency >= CERTAIN else []))


def _all_exact(prescribed: Sequence[Remedy]) -> list[Arm]:
    """Return the two most certain remedies of different kinds together: a training may have two faults."""
    sure = [each for each in prescribed if each.urgency >= 0.9]
    found = [(one, other) for one, other in combinations(sure, 2) if fit((one,), (other,))]
    return list(found[:1])


def second_arms(best: Sequence[Arm]) -> list[Arm]:
    """Return the arms of the second round: the best of the first, pairs of them, and the best with other steps."""
    pairs = [one + other for one, other in combinations(best[:3], 2) if fit(one, other)]
    longer = [with_steps(arm, factor) for arm in best[:1] for factor in (*NEAR, *FAR)]
    others = [with_steps(arm, factor) for arm in best[1:2] for factor in NEAR]
    return _once([*best[:3], *longer, *pairs, *others, *best[3:5]])


def third_arms(best: Sequence[Arm]) -> list[Arm]:
    """Return the arms of the last round: the two best, and the best with steps a little longer and shorter."""
    return _once([*best[:2], *(with_steps(arm, factor) for arm in best[:1] for factor in NEAR)])


def with_steps(arm: Arm, factor: float) -> Arm:
    """Return an arm with longer or shorter steps: its own learning rate changed, or one more remedy.

    Example:
        >>> [each.settings for each in with_steps((Remedy("UR102", {"lr": 0.001}),), 10.0)]
        [{'lr': 0.01}]
        >>> [each.code for each in with_steps((Remedy("UR304"),), 0.1)]
        ['UR304', 'UR101']
    """
    for place, each in enumerate(arm):
        name = STEP_LENGTHS.get(each.code)
        if name:
            changed = replace(each, settings={**each.settings, name: _round(each.settings[name] * factor)})
            return (*arm[:place], changed, *arm[place + 1 :])
    step = Remedy("UR101", {"factor": _round(factor)}, "steps of another length go well with it")
    return (*arm, step)


def _round(value: float) -> float:
    return float(f"{value:.2g}")


def fit(one: Arm, other: Arm) -> bool:
    """Tell whether two arms can be applied one after the other: no kind twice."""
    codes = [each.code for each in one + other]
    return len(set(codes)) == len(codes)


def _once(arms: Iterable[Arm]) -> list[Arm]:
    found: dict[frozenset[Remedy], Arm] = {}
    for arm in arms:
        if Remedy("UR101", {"factor": 1.0}) not in arm:  # that does nothing
            found.setdefault(frozenset(arm), arm)
    return list(found.values())


def apart(arms: Iterable[Arm]) -> list[Arm]:
    """Leave out arms that differ from a better one by a little in the length of steps only.

    Args:
        arms: the best first.

    Example:
        >>> steps = [(Remedy("UR101", {"factor": factor}),) for factor in (30.0, 33.0, 100.0)]
        >>> [arm[0].settings["factor"] for arm in apart(steps)]
        [30.0, 100.0]
    """
    kept: list[Arm] = []
    for arm in arms:
        if not any(_near(arm, other) for other in kept):
            kept.append(arm)
    return kept


def _near(arm: Arm, other: Arm) -> bool:
    if [each.code for each in arm] != [each.code for each in other]:
        return False
    return all(one == two or _close(one, two) for one, two in zip(arm, other, strict=True))


def _close(one: Remedy, other: Remedy) -> bool:
    name = STEP_LENGTHS.get(one.code)
    return name is not None and 1 / ALIKE < one.settings[name] / other.settings[name] < ALIKE


def simplicity(arm: Arm) -> tuple[int, int]:
    """Return what to prefer of arms that do equally well: fewer remedies, and those that change less."""
    return len(arm), sum("ABCD".index(each.level) for each in arm)
