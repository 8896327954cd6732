"""UT401 and UT402: the optimizer's step. Not judged without an optimizer."""

from collections.abc import Iterator

import numpy as np

from undertow.record import Finding, Role, Severity
from undertow.rules.evidence import Evidence
from undertow.rules.registry import rule

RATIO_ABOVE = 0.1
EPSILONS = 10.0


@rule("UT401", "update too large")
def update_ratio(evidence: Evidence) -> Iterator[Finding]:
    """A step changes weights by a large part of themselves.

    What:
        The optimizer's next step is as long as a tenth of a layer's weights or more.
    Why it is bad:
        The gradient holds for small steps; after such a large one the loss may be anywhere.
    Evidence:
        ``ratio``: ||dw|| / ||w||, the step tried on a copy, weight decay included.
    Threshold:
        More than 0.1. About 0.001 is usual in networks that train well.
    What to do:
        A smaller learning rate, or warm-up.
    References:
        Karpathy 2015 (CS231n, "ratio of weights:updates"); You, Gitman, Ginsburg 2017 (LARS).
    """
    ratio = evidence.column("update_ratio")
    layers = [s for s in evidence.run.sites if s.role is Role.WEIGHT and np.isfinite(ratio[s.index])]
    large = [site for site in layers if ratio[site.index] > RATIO_ABOVE]
    if not large:
        return
    worst = max(large, key=lambda site: ratio[site.index])
    text = (
        f"A step of {evidence.run.header.get('optimizer')} changes the weights of {len(large)} of {len(layers)} layers "
        f"by more than a tenth, those of {worst.name} by {ratio[worst.index]:.2g} of their norm."
    )
    sites = tuple(site.index for site in large)
    numbers = {"ratio": float(ratio[worst.index]), "layers": float(len(large))}
    limit = f"||dw|| / ||w|| > {RATIO_ABOVE}"
    yield Finding("UT401", "update too large", Severity.WARNING, sites, worst.name, text, numbers, limit)


@rule("UT402", "under Adam's epsilon")
def epsilon_floor(evidence: Evidence) -> Iterator[Finding]:
    """Gradients are so small that Adam's epsilon swallows them.

    What:
        The root mean square of a layer's gradient is not far above the optimizer's epsilon.
    Why it is bad:
        Adam divides by sqrt(v) + epsilon to make steps independent of the gradient's scale. With sqrt(v) down at
        epsilon it doesn't, and the layer's steps shrink with its gradient.
    Evidence:
        ``rms`` of the gradient of a layer's weights; ``epsilon``.
    Threshold:
        rms < 10 epsilon: steps more than a tenth shorter than they should be.
    What to do:
        A smaller epsilon (in float32 1e-12 is safe), a loss that isn't scaled down, or what helps against UT101.
    References:
        Kingma, Ba 2015, algorithm 1; Wortsman et al. 2023 (small-scale proxies), section 3.4.
    """
    epsilon = evidence.run.header.get("epsilon")
    if not epsilon:
        return
    norm = evidence.column("weight_grad_norm")
    small: dict[int, float] = {}
    for site in evidence.run.sites:
        if site.role is Role.WEIGHT and site.weight_shape and norm[site.index] > 0:
            rms = float(norm[site.index] / np.sqrt(np.prod(site.weight_shape)))
            if rms < EPSILONS * epsilon:
                small[site.index] = rms
    if not small:
        return
    worst = min(small, key=lambda site: small[site])
    text = (
        f"At {evidence.name(worst)} the gradient's root mean square is {small[worst]:.1e}, "
        f"Adam's epsilon {epsilon:.0e}: its steps are too short."
    )
    numbers = {"rms": small[worst], "epsilon": float(epsilon), "layers": float(len(small))}
    limit = f"rms < {EPSILONS:.0f} epsilon"
    equation = "dw = -lr m / (sqrt(v) + epsilon)"
    name, where = "under Adam's epsilon", evidence.name(worst)
    yield Finding("UT402", name, Severity.WARNING, tuple(small), where, text, numbers, limit, equation)
