"""UT301: what mean-field theory says of the initialisation."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from undertow.activations import ACTIVATIONS
from undertow.record import Finding, Role, Severity
from undertow.rules.evidence import Evidence
from undertow.rules.registry import rule
from undertow.rules.scale import EXPLODING_TOTAL, VANISHING_TOTAL

FEWEST_LAYERS = 3
AGREEING = 0.5
LARGEST_VARIANCE = 100.0


@rule("UT301", "initialisation off for the depth")
def initialisation(evidence: Evidence) -> Iterator[Finding]:
    """The weights' variance makes the gradient vanish or explode in a network this deep.

    What:
        Mean-field theory, given the weights' variance and the activation, expects a gain per layer that over the
        depth of this network amounts to a vanishing or exploding gradient, and the measured gradient agrees.
    Why it is bad:
        Signals and gradients both come out of scale, before the first step.
    Evidence:
        ``weight_var``: n_in Var W, median over the layers; ``expected`` and ``measured`` decades over the depth;
        ``needed``: the variance that would keep the gradient's scale, where there is one.
    Threshold:
        Expected <= -1.3 or >= 2.5 decades, as for UT101 and UT102, and measured at least half of that. Only where
        theory applies: plain layers with one kind of activation on the backbone, no joins, normalisation or attention.
    What to do:
        Draw the weights with the variance that is needed (1/n_in for tanh, 2/n_in for ReLU). For the sigmoid there is
        none within reason: take another activation.
    References:
        Poole et al. 2016; Schoenholz et al. 2017; Glorot, Bengio 2010; He et al. 2015.
    """
    plain = _plain_layers(evidence)
    if plain is None or evidence.backbone is None:
        return
    activation, weight_var, depth = plain
    chi = _chi(activation, weight_var)
    expected = depth * float(np.log10(chi)) / 2
    measured = evidence.backbone.decay().total
    if not (expected <= VANISHING_TOTAL or expected >= EXPLODING_TOTAL) or measured / expected < AGREEING:
        return
    needed = _needed(activation)
    size = "small" if expected < 0 else "large"
    cure = f"{needed:.2g} would keep it" if needed else f"no variance up to {LARGEST_VARIANCE:.0f} would keep it"
    text = (
        f"n_in Var W = {weight_var:.2g} is too {size} for {depth} layers of {activation}: theory expects the gradient "
        f"to change by {expected:+.2f} decades (measured {measured:+.2f}); {cure}."
    )
    numbers = {"weight_var": weight_var, "expected": expected, "measured": measured, "chi": chi}
    numbers |= {"needed": needed} if needed else {}
    marks = evidence.backbone.marks
    where = evidence.between(marks[0], marks[-1])
    limit = f"expected <= {VANISHING_TOTAL} or >= {EXPLODING_TOTAL} decades, measured at least half of it"
    equation = "E||delta^l||^2 = chi_1 E||delta^{l+1}||^2, chi_1 = n_in Var W E[phi'^2]"
    name = "initialisation off for the depth"
    yield Finding("UT301", name, Severity.WARNING, marks, where, text, numbers, limit, equation)


def _plain_layers(evidence: Evidence) -> tuple[str, float, int] | None:
    """Activation, n_in Var W, and number of activations between layers, if that is all that the backbone is."""
    if evidence.backbone is None or not evidence.finite:
        return None
    sites = [evidence.run.sites[i] for i in evidence.backbone.sites if evidence.run.sites[i].role is not Role.LOSS]
    if {site.role for site in sites} - {Role.WEIGHT, Role.ACTIVATION, Role.OTHER}:
        return None
    kinds = Counter(site.activation for site in sites if site.role is Role.ACTIVATION)
    kind, depth = kinds.most_common(1)[0] if kinds else (None, 0)
    if len(kinds) != 1 or kind not in ACTIVATIONS or depth < FEWEST_LAYERS:
        return None
    norm = evidence.column("weight_norm")
    variances = [norm[s.index] ** 2 / s.n_out for s in sites if s.role is Role.WEIGHT and s.n_out]
    known = [each for each in variances if not np.isnan(each)]
    variance = float(np.median(known)) if known else 0.0
    return (kind, variance, depth) if variance > 0 else None


def _chi(activation: str, weight_var: float) -> float:
    from undertow.theory import meanfield  # loads scipy's integrators: only where it is asked

    try:
        return meanfield.chi(activation, weight_var=weight_var)
    except meanfield.NoFixedPoint:  # the variance grows: what holds at the start
        return meanfield.chi(activation, weight_var=weight_var, q=1.0)


def _needed(activation: str) -> float | None:
    """The weight variance with chi_1 = 1 and no biases, by bisection; None if there is none."""
    low, high = 0.01, LARGEST_VARIANCE
    if _chi(activation, high) < 1:
        return None
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _chi(activation, middle) < 1 else (low, middle)
    return high
