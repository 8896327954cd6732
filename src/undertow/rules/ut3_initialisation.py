"""UT301 and UT302: initial weights of the wrong size, or all alike."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from undertow.analysis.gradient_path import Decay, decay
from undertow.analysis.theory_check import TheoryCheck
from undertow.analysis.theory_check.activations import known
from undertow.analysis.theory_check.interpretation import typical_weight_var
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Severity
from undertow.rules.registry import rule
from undertow.rules.ut1_scale import EXPLODING_RATE, EXPLODING_TOTAL, VANISHING_RATE, VANISHING_TOTAL

FEWEST_LAYERS = 3
AGREEING = 0.5
LARGEST_VARIANCE = 100.0
SPREAD_BELOW = 1e-2


@rule("UT301", "initialisation off for the depth", first_step_only=True)
def initialisation(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The weights' variance makes the gradient vanish or explode in a network this deep.

    What:
        Mean-field theory, given each layer's activation and the sizes of its weights, biases and inputs, expects gains
        that over the depth of this network amount to a vanishing or exploding gradient, and the measured gradient
        agrees: the loss is theory's, not that of one layer.
    Why it is bad:
        Signals and gradients both come out of scale, before the first step.
    Evidence:
        ``weight_var``: n_in Var W, median over the layers; ``expected`` and ``measured`` decades over the depth;
        ``spread``: how far chance takes one network of these widths from it, a standard deviation; ``chi``: what a
        layer is expected to multiply the squared gradient by, on average; ``needed``: the variance that would keep
        the gradient's scale, where there is one.
    Threshold:
        Expected <= -1.3 or >= 2.5 decades at a rate of -0.08 or 0.095 a layer, as for UT101 and UT102, no single layer
        making more than 70 % of it, and measured at least half. Only where theory applies: plain layers with one kind
        of activation on the gradient path, no joins, normalisation or attention.
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
    size = "small" if found.expected < 0 else "large"
    cure = f"{needed:.2g} would keep it" if needed else f"no variance up to {LARGEST_VARIANCE:.0f} would keep it"
    text = (
        f"n_in Var W = {weight_var:.2g} is too {size} for {len(found.covered)} layers of {activation}: theory expects "
        f"the gradient to change by {found.expected:+.2f} decades, give or take {found.spread:.2f} (measured "
        f"{found.measured:+.2f}); {cure}."
    )
    numbers = {"weight_var": weight_var, "expected": found.expected, "spread": found.spread, "measured": found.measured}
    numbers["chi"] = 10 ** (2 * found.expected / len(found.covered))
    numbers |= {"needed": needed} if needed else {}
    waypoints = diagnosis.gradient_path.waypoints
    where = diagnosis.between(waypoints[0], waypoints[-1])
    limit = f"expected <= {VANISHING_TOTAL} or >= {EXPLODING_TOTAL} decades, measured at least half of it"
    equation = "E||delta^l||^2 = chi_1 E||delta^{l+1}||^2, chi_1 = n_in Var W E[phi'^2]"
    name = "initialisation off for the depth"
    yield Finding("UT301", name, Severity.WARNING, waypoints, where, text, numbers, limit, equation)


@rule("UT302", "symmetric units", sparse_columns=("weight_spread",))
def symmetric(diagnosis: Diagnosis) -> Iterator[Finding]:
    """All units of a layer start with the same weights.

    What:
        The rows of a weight matrix are all alike (and not zero).
    Why it is bad:
        Units that are alike get the same gradient and stay alike: the layer is as good as one unit wide.
    Evidence:
        ``spread``: the norm of the weights' deviation from their mean row, as a share of the weights' norm.
    Threshold:
        Under 0.01, in a layer of more than one unit: float32 sums of squares can't tell less from nothing. Any random
        initialisation is near 1.
    What to do:
        Draw the weights at random.
    References:
        Goodfellow, Bengio, Courville 2016, section 8.4.
    """
    spread = diagnosis.column("weight_spread")
    for site in diagnosis.run.sites:
        if site.role is Role.WEIGHT and site.n_out > 1 and spread[site.index] < SPREAD_BELOW:
            text = f"The {site.n_out} units of {site.name} have the same weights, and will keep them so."
            numbers = {"spread": float(spread[site.index])}
            limit = f"spread under {SPREAD_BELOW}"
            yield Finding("UT302", "symmetric units", Severity.ERROR, (site.index,), site.name, text, numbers, limit)


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
    vanishing = path.rate <= VANISHING_RATE and path.total <= VANISHING_TOTAL
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
