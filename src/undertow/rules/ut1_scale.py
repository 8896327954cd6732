"""UT101 and UT102: the gradient's scale along depth."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from undertow.analysis.attribution import cause_of, product
from undertow.analysis.gradient_path import Decay, decades, decay
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.registry import Blocks, rule

VANISHING_RATE, VANISHING_TOTAL = -0.08, -1.3
EXPLODING_RATE, EXPLODING_TOTAL = 0.095, 2.5
FEWEST_WAYPOINTS = 3
PRODUCT_EQUATION = "Nielsen, eq. 124: delta^l = Sigma'(z^l) (w^{l+1})^T Sigma'(z^{l+1}) (w^{l+2})^T ... grad_a C"


@rule("UT101", "vanishing gradient", by_cause=True, blocks_converged=Blocks.BEFORE, excused_by_convergence=True)
def vanishing(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The gradient fades from layer to layer on its way to the front.

    What:
        The norm of the gradient, taken at the weights and joins of the gradient path, falls steadily.
    Why it is bad:
        The front layers learn slower than the back ones by the same factor; with enough layers not at all.
    Evidence:
        ``rate``, decades per waypoint (Theil-Sen, so that no single layer makes it); ``total``, decades from end to
        end; the decades of each cause.
    Threshold:
        rate <= -0.08 and total <= -1.3. On 34 networks x 3 seeds this parted those seen not to train from the rest.
        And no single step makes more than 70 % of it: one small factor (LayerScale) is no decay, and learns.
    What to do:
        Look at the cause. Activation: one with derivatives near 1 (ReLU, GELU, tanh near 0). Weights: a larger
        initialisation (He, Glorot). Either: residual connections or normalisation.
    References:
        Nielsen 2015, chapter 5, eq. 121-124; Hochreiter 1991; Bengio, Simard, Frasconi 1994.
    """
    if (
        diagnosis.gradient_path is None
        or not diagnosis.finite
        or len(diagnosis.gradient_path.waypoints) < FEWEST_WAYPOINTS
    ):
        return
    found = _beside_time(diagnosis)
    if diagnosis.starts_at_zero or found.rate > VANISHING_RATE or found.total > VANISHING_TOTAL or not found.steady:
        return
    yield _of_scale(diagnosis, found, "UT101", "vanishing", f"rate <= {VANISHING_RATE} and total <= {VANISHING_TOTAL}")


@rule("UT102", "exploding gradient", by_cause=True, blocks_converged=Blocks.BEFORE)
def exploding(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The gradient grows from layer to layer on its way to the front.

    What:
        The norm of the gradient on the gradient path rises steadily, and not because a normalisation rescales it.
    Why it is bad:
        A step that suits the back layers throws the front ones far away: the loss jumps, or becomes NaN.
    Evidence:
        ``rate``, decades per weight layer on the longest way; ``total``, decades from end to end; both without what
        normalisations add, as a network with them grows mildly in good health.
    Threshold:
        rate >= 0.095 and total >= 2.5. Healthy networks with BatchNorm were seen to reach 2.9 with their
        normalisation's share, and trained.
    What to do:
        Smaller initial weights (He: variance 2/n_in for ReLU), normalisation, or gradient clipping.
    References:
        Nielsen 2015, chapter 5; Pascanu, Mikolov, Bengio 2013; Yang et al. 2019 (mean field of BatchNorm).
    """
    if (
        diagnosis.gradient_path is None
        or not diagnosis.finite
        or len(diagnosis.gradient_path.waypoints) < FEWEST_WAYPOINTS
    ):
        return
    found = _without_normalisation(diagnosis)
    if found.rate < EXPLODING_RATE or found.climb < EXPLODING_TOTAL or not found.steady:
        return
    yield _of_scale(diagnosis, found, "UT102", "exploding", f"rate >= {EXPLODING_RATE} and total >= {EXPLODING_TOTAL}")


def _of_scale(diagnosis: Diagnosis, found: Decay, code: str, name: str, threshold: str) -> Finding:
    assert diagnosis.gradient_path is not None  # noqa: S101  # both rules looked already
    start, end = found.waypoints[0], found.waypoints[-1]
    causes = product(gain for gain in diagnosis.gains if start <= gain.start and gain.end <= end)
    by_cause = {cause: float(decades(factor)) for cause, factor in causes.items()}
    sign = np.sign(found.total)
    main = max(by_cause, key=lambda cause: sign * by_cause[cause])
    verb = "loses" if found.total < 0 else "gains"
    text = (
        f"The gradient {verb} {abs(found.total):.2f} decades between {diagnosis.name(start)} and "
        f"{diagnosis.name(end)}, {found.rate:+.2f} a layer; {by_cause[main]:+.2f} of them are due to {main}."
    )
    if found.gone is not None:
        text += f" From {diagnosis.name(found.gone)} on nothing is left: it is too small for its precision."
    severity = Severity.ERROR if abs(found.total) >= 2 else Severity.WARNING
    numbers = {"rate": found.rate, "total": found.total, **{f"decades by {c}": d for c, d in by_cause.items() if d}}
    where = diagnosis.between(start, end)
    found_here = Finding(code, name, severity, (start, end), where, text, numbers, threshold, PRODUCT_EQUATION)
    return replace(found_here, source=_source_of(diagnosis, main))


def _source_of(diagnosis: Diagnosis, cause: str) -> str:
    """Return the first line of source on the gradient path that a cause is due to."""
    sites = (diagnosis.run.sites[site] for gain in diagnosis.gains for site in gain.main)
    return next((site.source for site in sites if site.source and cause_of(diagnosis.run, site) == cause), "")


def _beside_time(diagnosis: Diagnosis) -> Decay:
    """Return the decay in depth, a recurrence counted once with the gradient of all its steps.

    That it fades through time is for UT107 to say.
    """
    gradient_path = diagnosis.gradient_path
    assert gradient_path is not None  # noqa: S101  # the caller looked already
    run, received = diagnosis.run, diagnosis.column("grad_output")
    recurrent = [waypoint for waypoint in gradient_path.waypoints if waypoint in diagnosis.recurrent]
    if not recurrent:
        return gradient_path.decay()
    levels: dict[tuple[str, ...] | int, float] = {}
    for waypoint in gradient_path.waypoints:
        parameters = run.sites[waypoint].parameters
        if waypoint in recurrent:
            steps = [site for site in diagnosis.recurrent if run.sites[site].parameters == parameters]
            levels[parameters] = float(decades(np.linalg.norm(received[steps])))
        elif not recurrent[0] < waypoint < recurrent[-1]:
            levels[waypoint] = float(decades(received[waypoint]))
    return decay(np.array(list(levels.values())), gradient_path.waypoints)


def _without_normalisation(diagnosis: Diagnosis) -> Decay:
    gradient_path = diagnosis.gradient_path
    assert gradient_path is not None  # noqa: S101  # the caller looked already
    grown = {gradient_path.sites[0]: 0.0}
    total = 0.0
    for gain in diagnosis.gains:
        total += max(0.0, float(decades(gain.factors.get("normalisation", 1.0))))
        grown[gain.end] = total
    levels = gradient_path.gradient - np.array([grown[site] for site in gradient_path.waypoints])
    return decay(levels, gradient_path.waypoints, gradient_path.depth[list(gradient_path.waypoints)])
