"""UT106 and UT107: gradient that is lost beside the gradient path, or back through time."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from undertow.analysis.gradient_path import strongest_route
from undertow.diagnosis import FEWEST_STEPS, Diagnosis
from undertow.record import Finding, Role, Severity, Site
from undertow.rules.registry import rule
from undertow.rules.ut1_scale import PRODUCT_EQUATION, VANISHING_RATE, VANISHING_TOTAL

FEWEST_IN_A_BRANCH = 4


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
    gradient_path = diagnosis.gradient_path
    if gradient_path is None or not diagnosis.finite or diagnosis.starts_at_zero:
        return
    for start, end in gradient_path.blocks():
        path = gradient_path.deepest_path(start, end)
        if path == gradient_path.main_path(start, end):
            continue
        found = gradient_path.starvation(path)
        if len(found.waypoints) < FEWEST_IN_A_BRANCH or not diagnosis.recurrent.isdisjoint(found.waypoints):
            continue
        if found.rate <= VANISHING_RATE and found.total <= VANISHING_TOTAL and found.steady:
            where = diagnosis.between(found.waypoints[0], found.waypoints[-1])
            text = f"In the branch {where} the gradient loses {-found.total:.2f} decades, {found.rate:+.2f} a layer."
            numbers = {"rate": found.rate, "total": found.total}
            limits = f"rate <= {VANISHING_RATE} and total <= {VANISHING_TOTAL}"
            yield Finding(
                "UT106",
                "starved branch",
                Severity.WARNING,
                found.waypoints,
                where,
                text,
                numbers,
                limits,
                PRODUCT_EQUATION,
            )


@rule("UT107", "memory horizon")
def memory_horizon(diagnosis: Diagnosis) -> Iterator[Finding]:
    """How far back in time a recurrent layer's gradient reaches.

    What:
        From one time step to the one before, the gradient through the recurrence shrinks by a constant factor.
    Why it is bad:
        What happened longer ago than the horizon is hardly learned from. With a loss at every step nothing of it
        shows in the gradient's norm.
    Evidence:
        ``gain`` per step along the strongest way through the recurrence; ``horizon``, the steps in which the
        gradient falls tenfold; ``steps``, how long the sequences are.
    Threshold:
        A horizon of less than half the sequence. A note: whether it is too short depends on the task.
    What to do:
        Gates (LSTM, GRU) with a forget bias of 1 or more, orthogonal recurrent weights, or attention.
    References:
        Hochreiter, Schmidhuber 1997; Pascanu, Mikolov, Bengio 2013; Jozefowicz, Zaremba, Sutskever 2015.
    """
    if not diagnosis.finite:
        return
    for module, families in _recurrent(diagnosis).items():
        steps = max(len(family) for family in families)
        gain = max(_gain_per_step(diagnosis, family) for family in families)
        horizon = np.log(10) / -np.log(gain) if 0 < gain < 1 else float("inf") if gain >= 1 else 0.0
        if horizon >= steps / 2:
            continue
        text = (
            f"Each step back in time leaves {gain:.2f} of the gradient: "
            f"a tenth is left after {horizon:.1f} of {steps} steps."
        )
        numbers = {"gain": gain, "horizon": float(horizon), "steps": float(steps)}
        sites = tuple(site.index for site in families[0])
        limit = "half of the sequence"
        yield Finding(
            "UT107", "memory horizon", Severity.NOTE, sites, module, text, numbers, limit, "Pascanu et al., eq. 5"
        )


def _recurrent(diagnosis: Diagnosis) -> dict[str, list[list[Site]]]:
    """Return the modules that use the same weights over and over, and each of their operations through time."""
    families: dict[tuple[str, str], list[Site]] = defaultdict(list)
    for site in diagnosis.run.sites:
        if site.module:
            families[site.module, site.op].append(site)
    found: dict[str, list[list[Site]]] = defaultdict(list)
    for (module, _), sites in families.items():
        weights = [s for s in sites if s.role is Role.WEIGHT and s.parameters]
        if (
            len({diagnosis.depth[s.index] for s in weights}) >= FEWEST_STEPS
            and len({s.parameters for s in weights}) == 1
        ):
            found[module] = [f for (m, _), f in families.items() if m == module and len(f) >= len(weights) - 2]
    return found


def _gain_per_step(diagnosis: Diagnosis, family: list[Site]) -> float:
    pairs = itertools.pairwise(family)
    gains = [strongest_route(diagnosis.run, diagnosis.step, a.index, b.index) for a, b in pairs]
    positive = [gain for gain in gains if gain > 0]
    # Operations that come more than once in a step are no chain: half of their pairs have no route between them.
    return float(np.exp(np.mean(np.log(positive)))) if len(positive) > 0.8 * len(gains) and positive else 0.0
