"""UT106 and UT107: gradient that is lost beside the gradient path, or back through time."""

from collections import defaultdict
from collections.abc import Iterator

from undertow.analysis.gradient_path import Decay
from undertow.analysis.recurrence import Passage, find_loops
from undertow.diagnosis import FEWEST_STEPS, Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.consequences import severity_of
from undertow.rules.registry import rule
from undertow.rules.ut1_scale import PRODUCT_EQUATION, VANISHING_RATE, VANISHING_TOTAL

FEWEST_IN_A_BRANCH = 4
FAR = 5
"""Horizons, that is decades, after which nothing of a gradient is to be counted on."""


@rule("UT106", "starved branch")
def starved(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A deep branch beside the gradient path gets no gradient.

    What:
        The front learns through a short cut, while the gradient vanishes step by step in a branch around it: the
        bottleneck of a U-Net, say.
    Why it is bad:
        The branch's layers stay as they are, and the network is as shallow as its short cut.
    Evidence:
        ``rate`` and ``total`` of the gradient received along the branch's longest way, down to where it is smallest.
    Threshold:
        As for UT101, in branches of four weight layers or more, through depth (through time see UT107). A branch that
        ends in one small factor (zero-initialised, LayerScale) has no steady decay and doesn't fire: that factor
        learns, and opens the branch.
    What to do:
        What helps against UT101, in the branch.
    References:
        Veit, Wilber, Belongie 2016 (gradient in residual networks comes along short paths).
    """
    for found in branches(diagnosis):
        if found.rate <= VANISHING_RATE and found.total <= VANISHING_TOTAL and found.steady:
            where = diagnosis.between(found.waypoints[0], found.waypoints[-1])
            text = f"In the branch {where} the gradient loses {-found.total:.2f} decades, {found.rate:+.2f} a layer."
            severity, outcome = severity_of("UT106", found.total, diagnosis.run)
            numbers = {"rate": found.rate, "total": found.total}
            limits = f"rate <= {VANISHING_RATE} and total <= {VANISHING_TOTAL}"
            yield Finding(
                "UT106", "starved branch", severity, found.waypoints, where, text + outcome, numbers, limits,
                PRODUCT_EQUATION,
            )  # fmt: skip


def branches(diagnosis: Diagnosis) -> Iterator[Decay]:
    """Follow every deep branch beside the gradient path, down to where its gradient is smallest."""
    gradient_path = diagnosis.gradient_path
    if gradient_path is None or not diagnosis.finite or diagnosis.starts_at_zero:
        return
    for start, end in gradient_path.blocks():
        path = gradient_path.deepest_path(start, end)
        if path == gradient_path.main_path(start, end):
            continue
        found = gradient_path.starvation(path)
        if len(found.waypoints) >= FEWEST_IN_A_BRANCH and diagnosis.recurrent.isdisjoint(found.waypoints):
            yield found


@rule("UT107", "memory horizon")
def memory_horizon(diagnosis: Diagnosis) -> Iterator[Finding]:
    """How far back in time a recurrent layer's gradient reaches.

    What:
        From one time step to the one before, the gradient through the recurrence shrinks by a constant factor.
    Why it is bad:
        What happened longer ago than the horizon is hardly learned from. With a loss at every step nothing of it
        shows in the gradient's norm.
    Evidence:
        ``gain`` per step over all ways back in time (through an LSTM's cell as through its weights), without what
        comes in from outside of the loop; ``horizon``, the steps in which the gradient falls tenfold; ``steps``, how
        long the sequences are; ``at end``, 1 where the loss sits at the end of the sequence alone.
    Threshold:
        A horizon of less than half the sequence, a note: whether it is too short depends on the task. Less than a
        fifth of it (five decades lost from end to end) under a loss that sits at the end, a warning.
    What to do:
        Gates (LSTM, GRU) with a forget bias of 1 or more, orthogonal recurrent weights, or attention. Sequences that
        are padded at the end: take the last true state (pack_padded_sequence).
    References:
        Hochreiter, Schmidhuber 1997; Pascanu, Mikolov, Bengio 2013; Jozefowicz, Zaremba, Sutskever 2015.
    """
    if not diagnosis.finite:
        return
    for module, longest, at_end in memories(diagnosis):
        if longest.horizon < longest.loop.steps / 2:
            yield _forgetful(module, longest, at_end)


def memories(diagnosis: Diagnosis) -> Iterator[tuple[str, Passage, bool]]:
    """Every recurrent module, its Passage that leaves most of the gradient, and whether the loss sits at its end."""
    by_module: dict[str, list[Passage]] = defaultdict(list)
    for loop in find_loops(diagnosis.run, FEWEST_STEPS):
        if len(loop.ages) > 1:
            by_module[loop.module].append(Passage(loop, diagnosis.run, diagnosis.step))
    for module, passages in by_module.items():
        longest = max(passages, key=lambda passage: passage.gain)
        yield module, longest, any(passage.fed_at_end_only for passage in passages)


def _forgetful(module: str, passage: Passage, at_end: bool) -> Finding:
    steps, horizon = passage.loop.steps, passage.horizon
    text = (
        f"Each step back in time leaves {passage.gain:.2f} of the gradient: "
        f"a tenth is left after {horizon:.1f} of {steps} steps."
    )
    unheard = at_end and horizon < steps / FAR
    if unheard:
        text += f" The loss sits at the end: the first {steps - int(FAR * horizon)} steps hardly reach it."
    numbers = {"gain": passage.gain, "horizon": horizon, "steps": float(steps), "at end": float(at_end)}
    severity, limit = (
        (Severity.WARNING, f"a fifth of the sequence, {steps / FAR:.1f} steps, under a loss at its end")
        if unheard
        else (Severity.NOTE, f"half of the sequence, {steps / 2:.1f} steps")
    )
    sites = passage.loop.weights
    return Finding("UT107", "memory horizon", severity, sites, module, text, numbers, limit, "Pascanu et al., eq. 5")
