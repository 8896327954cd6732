"""UT301 and UT302: initial weights of the wrong size, or all alike."""

import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from undertow.analysis.gradient_path import Decay, decay
from undertow.analysis.theory_check import TheoryCheck
from undertow.analysis.theory_check.activations import known
from undertow.analysis.theory_check.interpretation import typical_weight_var
from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import spelled
from undertow.record import Finding, Role, Severity, Site, main_activation
from undertow.rules.advice.signal import acting, different_weights, redrawn
from undertow.rules.alike import said_once
from undertow.rules.consequences import severity_of
from undertow.rules.registry import rule
from undertow.rules.ut1_scale import (
    EXPLODING_RATE,
    EXPLODING_TOTAL,
    VANISHING_TOTAL,
    decades_by_cause,
    fading,
    is_vanishing,
    kind_of,
)
from undertow.wording import called, over_n, times_of_decades

FEWEST_LAYERS = 3
AGREEING = 0.5
OFF_BY = 0.03
LARGEST_VARIANCE = 100.0
SPREAD_BELOW = 1e-2
ROUNDING = 1e-6


@rule(
    "UT301",
    "initialisation off for the depth",
    first_step_only=True,
    excused_by_learning=True,
    explains=("UT101", "UT102", "UT104", "UT105", "UT201", "UT205", "UT401 update too small", "UT704"),
)
def initialisation(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The weights' variance makes the gradient vanish or explode in a network this deep.

    What:
        Mean-field theory, given each layer's activation and the sizes of its weights, biases and inputs, expects gains
        that over the depth of this network amount to a vanishing or exploding gradient, and the measured gradient
        agrees: such a start brings this loss, not one layer of it.
    Why it is bad:
        Signals and gradients both come out of scale, before the first step.
    Evidence:
        ``weight_var``: n_in Var W, median over the layers; ``expected`` and ``measured`` decades over the depth;
        ``spread``: how far chance takes one network of these widths from it, a standard deviation; ``chi``: what a
        layer is expected to multiply the squared gradient by, on average; ``needed``: the variance that would keep
        the gradient's scale, where there is one.
    Threshold:
        Expected <= -1.3 or >= 2.5 decades at a rate of -0.08 or 0.095 a layer, as for UT101 and UT102 (a loss in up to
        five layers must be steep), no single layer making more than 70 % of it, and measured at least half. Only where
        theory applies: plain layers with one kind of activation on the gradient path, no joins, normalisation or
        attention. How much it matters is read off the study ``severity``; a note in a run whose loss fell by half, and
        under what guessing gets.
    What to do:
        Draw the weights with the variance that is needed (1/n_in for tanh, 2/n_in for ReLU). For the sigmoid there is
        none within reason: take another activation.
    References:
        Poole et al. 2016; Schoenholz et al. 2017; Glorot, Bengio 2010; He et al. 2015.
    """
    activation = _kind(diagnosis)
    if activation is None or diagnosis.gradient_path is None:
        return
    found = diagnosis.theory
    if len(found.covered) < FEWEST_LAYERS or not _off(found):
        return
    weight_var, needed = typical_weight_var(found), _needed(activation)
    if needed and (weight_var / needed - 1) * math.copysign(1, found.expected) < OFF_BY:
        return  # what the gradient loses or gains by, a constant factor perhaps, is not the weights' variance
    size, verb = ("small", "lose") if found.expected < 0 else ("large", "blow up")
    sites = [diagnosis.run.sites[site] for site in diagnosis.gradient_path.sites]
    layers, now = (
        f"{len(acting(sites, activation))} layers of {spelled(activation)}",
        f"Their variance is {over_n(weight_var)}",
    )
    if needed:
        lead, cure = f"The weights start too {size} for {layers}", f"{now} (n inputs); {over_n(needed)} would keep it."
    else:
        lead, cure = f"{layers} {verb} the gradient, whatever weights they start with", ""
    last, first = (called(diagnosis.run, diagnosis.run.sites[place]) for place in _ends(found))
    text = (
        f"{lead}: {first} gets {times_of_decades(found.measured)} gradient than {last}, and theory expects "
        f"{times_of_decades(found.expected)}. {cure}"
    ).rstrip()
    numbers = {"weight_var": weight_var, "expected": found.expected, "spread": found.spread, "measured": found.measured}
    numbers["chi"] = 10 ** (2 * found.expected / len(found.covered))
    numbers |= {"needed": needed} if needed else {}
    waypoints = diagnosis.gradient_path.waypoints
    where = diagnosis.between(waypoints[0], waypoints[-1])
    limit = f"expected <= {VANISHING_TOTAL} or >= {EXPLODING_TOTAL} decades, measured at least half of it"
    equation = "E||delta^l||^2 = chi_1 E||delta^{l+1}||^2, chi_1 = n_in Var W E[phi'^2]"
    name = "initialisation off for the depth" if needed else f"too deep for {spelled(activation)}"
    severity, outcome = _worth(diagnosis, found.expected)
    made = Finding("UT301", name, severity, waypoints, where, text + outcome, numbers, limit, equation)
    yield redrawn(diagnosis, sites, activation, needed).on(made)


@rule(
    "UT302",
    "symmetric units",
    sparse_columns=("weight_spread",),
    explains=("UT104", "UT205", "UT704"),
)
def symmetric(diagnosis: Diagnosis) -> Iterator[Finding]:
    """All units of a layer have the same weights.

    What:
        Every unit of a layer has the same weights as the others (and not zero). Their gradient may be the same, too.
    Why it is bad:
        Units that are alike and pulled alike stay alike: the layer is as good as one unit wide. (Alike weights alone
        do no harm: where what comes behind treats the units differently, they part in the first step.)
    Evidence:
        ``spread``: the norm of the weights' deviation from those of the mean unit, as a share of the weights' norm;
        ``gradient's spread``: the same of their gradient.
    Threshold:
        Under 0.01, in a layer of more than one unit: float32 sums of squares can't tell less from nothing. Any random
        initialisation is near 1. An error if the gradient's spread is under 0.01, too, or not known, or the
        gradient is nothing but rounding (under 1e-6 of another layer's), as it cancels where the layer behind is
        constant, too; else a note: the units part in the first step. A parameter is judged once, as the layer that it
        was made for multiplies by it; rows of an embedding are no units.
    What to do:
        Draw the weights at random.
    References:
        Goodfellow, Bengio, Courville 2016, section 8.4.
    """
    spread = diagnosis.column("weight_spread")
    found: dict[tuple[str, ...], Site] = {}
    for site in diagnosis.run.sites:
        if site.role is Role.WEIGHT and site.n_out > 1 and spread[site.index] < SPREAD_BELOW:
            known = found.setdefault(_matrices(site), site)
            if site.module and not known.module:  # a backward pass that is differentiated uses it outside of its layer
                found[_matrices(site)] = site
    activation = main_activation(diagnosis.run.sites) if found else None
    yield from said_once(_symmetric(diagnosis, site, activation) for site in found.values())


def _ends(found: TheoryCheck) -> tuple[int, int]:
    """Return the Sites at the loss's side and at the front of what theory speaks of."""
    return found.covered[0].start, found.covered[-1].end


def _matrices(site: Site) -> tuple[str, ...]:
    return tuple(name for name in site.parameters if "bias" not in name.rpartition(".")[2])


def _symmetric(diagnosis: Diagnosis, site: Site, activation: str | None) -> Finding:
    columns = {"spread": "weight_spread", "gradient's spread": "grad_spread"}
    numbers = {name: float(diagnosis.column(column)[site.index]) for name, column in columns.items()}
    if _is_noise(diagnosis, site):
        severity, consequence = Severity.ERROR, "and no gradient but rounding comes to them: they stay alike"
    elif numbers["gradient's spread"] >= SPREAD_BELOW:
        severity, consequence = Severity.NOTE, "but what comes behind them pulls them apart"
    else:
        severity, consequence = Severity.ERROR, "and get the same gradient: they stay alike"
    text = f"All {site.n_out} units of {called(diagnosis.run, site)} have the same weights, {consequence}."
    limit = f"spread under {SPREAD_BELOW}; an error if the gradient's is, too"
    made = Finding("UT302", "symmetric units", severity, (site.index,), site.name, text, numbers, limit)
    return different_weights(site, activation).on(made)


def _is_noise(diagnosis: Diagnosis, site: Site) -> bool:
    """Tell whether a layer's gradient is what rounding leaves of sums that cancel, beside that of all layers."""
    gradient = diagnosis.column("weight_grad_norm")
    return bool(gradient[site.index] < ROUNDING * np.nanmax(gradient))


def expected_decades(diagnosis: Diagnosis) -> float | None:
    """Return the decades that theory expects over the depth of a plain network; None where it doesn't apply."""
    applies = _kind(diagnosis) is not None and len(diagnosis.theory.covered) >= FEWEST_LAYERS
    return diagnosis.theory.expected if applies else None


def _worth(diagnosis: Diagnosis, expected: float) -> tuple[Severity, str]:
    """Look up what became of networks like this: of a loss by what UT101 measures, as they suffer from that."""
    found = fading(diagnosis) if expected < 0 else None
    if found is None:
        return severity_of("UT301", expected, diagnosis.run)
    return severity_of("UT101", found.total, diagnosis.run, kind_of(found, decades_by_cause(diagnosis, found)))


def _kind(diagnosis: Diagnosis) -> str | None:
    """Return the activation, if the gradient path is plain layers with one kind of it."""
    if diagnosis.gradient_path is None or not diagnosis.finite:
        return None
    sites = [
        diagnosis.run.sites[i] for i in diagnosis.gradient_path.sites if diagnosis.run.sites[i].role is not Role.LOSS
    ]
    if {site.role for site in sites} - {Role.WEIGHT, Role.ACTIVATION, Role.OTHER}:
        return None
    kinds = Counter(site.activation for site in sites if site.role is Role.ACTIVATION)
    (kind,) = kinds if len(kinds) == 1 else (None,)
    return kind if kind is not None and known(kind) is not None and kinds[kind] >= FEWEST_LAYERS else None


def _off(found: TheoryCheck) -> bool:
    """Return whether theory expects a steady loss or growth that matters, and measurement bears it out."""
    steps = [each.expected for each in found.covered]
    path: Decay = decay(np.cumsum([0.0, *steps]), tuple(each.start for each in found.covered))
    vanishing = is_vanishing(path)
    exploding = path.rate >= EXPLODING_RATE and path.total >= EXPLODING_TOTAL
    return (vanishing or exploding) and path.steady and found.measured / found.expected >= AGREEING


def _chi(activation: str, weight_var: float) -> float:
    from undertow.theory import meanfield  # loads scipy's integrators: only where it is asked

    phi = known(activation)
    assert phi is not None  # noqa: S101  # `_kind` looked already
    try:
        return meanfield.chi(phi, weight_var=weight_var)
    except meanfield.NoFixedPoint:  # the variance grows: what holds at the start
        return meanfield.chi(phi, weight_var=weight_var, q=1.0)


@lru_cache(maxsize=64)
def _needed(activation: str) -> float | None:
    """Return the weight variance with chi_1 = 1 and no biases, by bisection; None if there is none."""
    low, high = 0.01, LARGEST_VARIANCE
    if _chi(activation, high) < 1:
        return None
    for _ in range(24):  # to a millionth
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _chi(activation, middle) < 1 else (low, middle)
    return high
