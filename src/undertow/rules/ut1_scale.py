"""UT101 and UT102: the gradient's scale along depth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.attribution import cause_of, product
from undertow.analysis.gradient_path import Decay, decades_of, decay
from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import spelled
from undertow.record import Finding, Severity, Site, main_activation
from undertow.rules.advice.memory import calmer_recurrence
from undertow.rules.advice.signal import SQUASHING, against_fading, against_growth, sums_grow
from undertow.rules.alike import said_once
from undertow.rules.consequences import ANY, severity_of
from undertow.rules.registry import Blocks, rule
from undertow.rules.ut1_memory import memories
from undertow.wording import called, part_of, sentence, times_of_decades

VANISHING_RATE, VANISHING_TOTAL = -0.08, -1.3
EXPLODING_RATE, EXPLODING_TOTAL = 0.095, 2.5
FEWEST_WAYPOINTS = 3
FEW_LAYERS, STEEP_RATE = 5, -0.5
"""Up to so many layers make no decay, unless each of them loses two thirds of the gradient."""

NOT_LOST = ("pooling", "mixing")
"""Causes that spread a gradient over positions or mix them, where the layer before adds it up again."""

FLAT_BELOW = -0.3
"""Decades a layer that activations must make, a factor of one half, to be called flat: sigmoids, saturated ones."""
PRODUCT_EQUATION = "Nielsen, eq. 124: delta^l = Sigma'(z^l) (w^{l+1})^T Sigma'(z^{l+1}) (w^{l+2})^T ... grad_a C"


@rule(
    "UT101",
    "vanishing gradient",
    by_cause=True,
    blocks_converged=Blocks.BEFORE,
    excused_by_convergence=True,
    explains=("UT104", "UT401 update too small", "UT402", "UT404", "UT408", "UT704"),
)
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
        rate <= -0.08 and total <= -1.3, and no single step makes more than 70 % of it: one small factor (LayerScale) is
        no decay, and learns. In networks of up to five layers, rate <= -0.5. Pooling and products with constant
        matrices don't count: they spread a gradient over positions, and the layer before adds it up again. How much
        it matters is read off the study ``severity``, by decades, optimizer, and whether flat activations or small
        weights make them.
    What to do:
        Look at the cause. Activation: one with derivatives near 1 (ReLU, GELU, tanh near 0). Weights: a larger
        initialisation (He, Glorot). Either: residual connections or normalisation.
    References:
        Nielsen 2015, chapter 5, eq. 121-124; Hochreiter 1991; Bengio, Simard, Frasconi 1994.
    """
    found = fading(diagnosis)
    if found is None or diagnosis.starts_at_zero or not is_vanishing(found):
        return
    yield _of_scale(diagnosis, found, "UT101", "vanishing", f"rate <= {VANISHING_RATE} and total <= {VANISHING_TOTAL}")


@rule(
    "UT102",
    "exploding gradient",
    by_cause=True,
    blocks_converged=Blocks.BEFORE,
    explains=("UT103", "UT105", "UT401", "UT405", "UT406", "UT704"),
)
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
        rate >= 0.095 and total >= 2.5; of a recurrent layer per step back in time, and over all of them. Healthy
        networks with BatchNorm were seen to reach 2.9 with their normalisation's share, and trained. How much it
        matters is read off the study ``severity``.
    What to do:
        Smaller initial weights (He: variance 2/n_in for ReLU), normalisation, or gradient clipping.
    References:
        Nielsen 2015, chapter 5; Pascanu, Mikolov, Bengio 2013; Yang et al. 2019 (mean field of BatchNorm).
    """
    found = growth(diagnosis)
    if found is None or not is_exploding(found):
        yield from said_once(_through_time(diagnosis))
        return
    yield _of_scale(diagnosis, found, "UT102", "exploding", f"rate >= {EXPLODING_RATE} and total >= {EXPLODING_TOTAL}")


def is_exploding(found: Decay | None) -> bool:
    """Tell whether the gradient grows steadily and enough on its way to the front to be called exploding.

    Example:
        >>> from undertow.analysis.gradient_path import decay
        >>> is_exploding(decay(np.array([0.0, 0.9, 1.8, 2.7]), (0, 1, 2, 3))), is_exploding(None)
        (True, False)
    """
    return found is not None and found.steady and found.rate >= EXPLODING_RATE and found.climb >= EXPLODING_TOTAL


def is_vanishing(found: Decay) -> bool:
    """Tell whether a decay is steady and large enough to be called vanishing; in few layers it must be steep.

    Example:
        >>> is_vanishing(Decay(-0.4, -1.6, True, (0, 1, 2, 3, 4))), is_vanishing(Decay(-0.4, -2.0, True, (0,) * 6))
        (False, True)
    """
    rate = STEEP_RATE if len(found.waypoints) <= FEW_LAYERS else VANISHING_RATE
    return found.rate <= rate and found.total <= VANISHING_TOTAL and found.steady


def fading(diagnosis: Diagnosis) -> Decay | None:
    """Return how the gradient changes along its path, but for pooling and constant matrices; None if it isn't known.

    A recurrence counts once, with the gradient of all its steps: that it fades through time is for UT107 to say.
    """
    return diagnosis.once(_fading)


def _fading(diagnosis: Diagnosis) -> Decay | None:
    if not _has_path(diagnosis):
        return None
    return _beside_time(diagnosis) if diagnosis.recurrent else _through_depth(diagnosis)


def growth(diagnosis: Diagnosis) -> Decay | None:
    """Return how the gradient changes along its path, without what normalisations add; None if it isn't known."""
    return diagnosis.once(_growth)


def _growth(diagnosis: Diagnosis) -> Decay | None:
    return _without_normalisation(diagnosis) if _has_path(diagnosis) else None


def kind_of(found: Decay, by_cause: Mapping[str, float]) -> str:
    """Tell whether flat activations make a decay, or the weights: a sigmoid is mended otherwise than a small start is.

    Example:
        >>> kind_of(Decay(-0.6, -2.4, True, (0, 1, 2, 3, 4)), {"activation": -2.3, "weights": -0.1})
        'activation'
    """
    steps = max(len(found.waypoints) - 1, 1)
    return "activation" if by_cause.get("activation", 0.0) <= FLAT_BELOW * steps else "weights"


def decades_by_cause(diagnosis: Diagnosis, found: Decay) -> dict[str, float]:
    """Return the decades of every cause between the ends of a decay."""
    start, end = found.waypoints[0], found.waypoints[-1]
    causes = product(gain for gain in diagnosis.gains if start <= gain.start and gain.end <= end)
    return {cause: decades_of(factor) for cause, factor in causes.items()}


def _has_path(diagnosis: Diagnosis) -> bool:
    path = diagnosis.gradient_path
    return path is not None and diagnosis.finite and len(path.waypoints) >= FEWEST_WAYPOINTS


def _through_time(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Report recurrent layers that a gradient grows in from step to step."""
    for module, passage, _ in memories(diagnosis) if diagnosis.finite else ():
        run, steps, rate = passage.run, passage.loop.steps, float(np.log10(passage.gain))
        if rate < EXPLODING_RATE or rate * steps < EXPLODING_TOTAL:
            continue
        name, more = sentence(called(run, run.sites[passage.loop.weights[0]])), times_of_decades(rate * steps)
        text = (
            f"{name} multiplies the gradient by {passage.gain:.2f} at each of {steps} steps back in time: the first "
            f"gets {more} of it than the last."
        )
        numbers = {"rate": rate, "total": rate * steps, "steps": float(steps)}
        limit = f"{EXPLODING_RATE} decades a step, and {EXPLODING_TOTAL} over all of them"
        sites, equation = passage.loop.weights, "Pascanu et al., eq. 5"
        made = Finding("UT102", "exploding", Severity.WARNING, sites, module, text, numbers, limit, equation)
        yield calmer_recurrence(run, sites, module, passage.gain).on(made)


def _of_scale(diagnosis: Diagnosis, found: Decay, code: str, name: str, threshold: str) -> Finding:
    assert diagnosis.gradient_path is not None  # noqa: S101  # both rules looked already
    start, end = found.waypoints[0], found.waypoints[-1]
    by_cause, sign = decades_by_cause(diagnosis, found), np.sign(found.total)
    main = max((c for c in by_cause if c not in NOT_LOST), key=lambda cause: sign * by_cause[cause])
    run = diagnosis.run
    text = (
        f"{sentence(called(run, run.sites[end]))} gets {times_of_decades(found.total)} gradient than "
        f"{called(run, run.sites[start])}. {_share(diagnosis, by_cause[main] / found.total, main, found.total < 0)}"
    )
    if found.gone is not None:
        last = called(run, run.sites[found.gone])
        text += f" From {last} on nothing is left: it is too small for its precision."
    amount, kind = (found.total, kind_of(found, by_cause)) if code == "UT101" else (found.climb, ANY)
    severity, outcome = severity_of(code, amount, diagnosis.run, kind)
    if severity is Severity.WARNING and "," in str(run.header.get("optimizer", "")):
        severity = Severity.NOTE  # one network in front of another, as a GAN's: the study has none
    text += outcome
    numbers = {"rate": found.rate, "total": found.total, **{f"decades by {c}": d for c, d in by_cause.items() if d}}
    where = diagnosis.between(start, end)
    found_here = Finding(code, name, severity, (start, end), where, text, numbers, threshold, PRODUCT_EQUATION)
    sites = _on_the_way(diagnosis)
    advice = against_fading(diagnosis, sites, main) if found.total < 0 else against_growth(diagnosis, sites)
    return advice.on(replace(found_here, source=_source_of(diagnosis, main)))


def _share(diagnosis: Diagnosis, share: float, cause: str, fades: bool) -> str:
    """Say how much of a change of the gradient is due to its main cause."""
    start = "start" if len(diagnosis.run) == 1 or diagnosis.step == 0 else "are"
    sites = _on_the_way(diagnosis)
    activation = main_activation(sites)
    if cause == "weights" and not fades and sums_grow(diagnosis, sites, activation):
        return f"{part_of(share)} of that comes from branches that are added up: each makes the gradient larger."
    slope = "pass on a quarter of a gradient at best" if activation in SQUASHING else "are flat where most values lie"
    why = {
        "weights": f"weights that {start} too {'small' if fades else 'large'}",
        "activation": f"the activations ({spelled(activation)}), which {slope if fades else 'are steep'}",
        "normalisation": f"normalisations, which divide by {'large' if fades else 'small'} deviations",
        "unattributed": f"its direction: it points where the weights are {'smallest' if fades else 'largest'}",
    }.get(cause, cause)
    return f"{part_of(share)} of that comes from {why}."


def _on_the_way(diagnosis: Diagnosis) -> list[Site]:
    """Return the Sites that most of the gradient to the front goes through, the loss's side first."""
    return [diagnosis.run.sites[i] for i in dict.fromkeys(site for gain in diagnosis.gains for site in gain.main)]


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
        return _through_depth(diagnosis)
    levels: dict[tuple[str, ...] | int, float] = {}
    for waypoint in gradient_path.waypoints:
        parameters = run.sites[waypoint].parameters
        if waypoint in recurrent:
            steps = [site for site in diagnosis.recurrent if run.sites[site].parameters == parameters]
            levels[parameters] = decades_of(float(np.linalg.norm(received[steps])))
        elif not recurrent[0] < waypoint < recurrent[-1]:
            levels[waypoint] = decades_of(float(received[waypoint]))
    return decay(np.array(list(levels.values())), gradient_path.waypoints)


def _through_depth(diagnosis: Diagnosis) -> Decay:
    gradient_path = diagnosis.gradient_path
    assert gradient_path is not None  # noqa: S101  # the caller looked already
    spread = _grown(diagnosis, NOT_LOST)
    return decay(gradient_path.gradient - spread, gradient_path.waypoints)


def _without_normalisation(diagnosis: Diagnosis) -> Decay:
    gradient_path = diagnosis.gradient_path
    assert gradient_path is not None  # noqa: S101  # the caller looked already
    levels = gradient_path.gradient - _grown(diagnosis, ("normalisation",), least=0.0)
    return decay(levels, gradient_path.waypoints, gradient_path.depth[list(gradient_path.waypoints)])


def _grown(diagnosis: Diagnosis, causes: Sequence[str], least: float | None = None) -> NDArray[np.floating]:
    """Return the decades up to every waypoint that some causes make, summed up block by block, ``least`` or more."""
    gradient_path = diagnosis.gradient_path
    assert gradient_path is not None  # noqa: S101  # the caller looked already
    grown, total = {gradient_path.sites[0]: 0.0}, 0.0
    for gain in diagnosis.gains:
        made = [gain.factors[cause] for cause in causes if gain.factors.get(cause, 1.0) != 1.0]
        if made:  # at few blocks
            own = sum(map(decades_of, made))
            total += own if least is None else max(least, own)
        grown[gain.end] = total
    return np.array([grown[site] for site in gradient_path.waypoints])
