"""UT104 and UT105: which half of the layers makes the progress."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from undertow.analysis.attribution import product
from undertow.diagnosis import Diagnosis, LayerSites
from undertow.record import Finding, Severity
from undertow.rules.advice import Advice
from undertow.rules.advice.signal import against_fading, against_growth
from undertow.rules.advice.steps import unequal_rates
from undertow.rules.consequences import severity_of
from undertow.rules.registry import Blocks, rule
from undertow.wording import amount, called

FRONT_BELOW, BACK_BELOW = 0.001, 0.0005
FEWEST_LAYERS = 4
HELD_BACK = {which: f"{which} layers held back by their rate" for which in ("front", "back")}
UNMOVED = 1e-5
"""Part of the loss that a step can take off at most, under which the steps that follow show nothing."""

EQUATION = "share of progress = |<g_l, dw_l>| / sum over layers"


@rule(
    "UT104",
    "front layers frozen",
    sparse_columns=("progress",),
    blocks_converged=Blocks.BEFORE,
    excused_by_convergence=True,
    excused_at_zero_lr=True,
    excused_by_learning=True,
    explains=("UT401", "UT408"),
    explains_by=(HELD_BACK["front"],),
)
def front_frozen(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The front half of the layers hardly takes part in learning.

    What:
        Of the loss's decrease in a step, to first order, almost nothing is due to the front half of the layers.
    Why it is bad:
        What the front layers pass on stays what it was at the random start: their depth is wasted.
    Evidence:
        ``share``: |<g, dw>| over the front half / over all layers that the optimizer holds. It sums to 1, whatever the
        widths, kinds of layer, scale of the loss or optimizer (given to examine; without one gradient descent is
        assumed). ``share later``: the same after ten steps, tried on copies.
    Threshold:
        Under 0.1 %, and still so after ten steps of the optimizer: of networks like this in the study ``severity`` one
        in twenty-five learned (between 0.1 and 0.5 % two in five, default starts of seven layers among them). A note
        if it is above that by then: behind LayerScale (CaiT, 0.006 % at its start) a small factor learns first and
        opens the way (1.2 % after ten steps of AdamW at 1e-4, 18 % at 1e-3). A note without an optimizer, as plain
        gradient descent is only assumed; where steps are too short to tell (UT408); and in a run whose loss fell by
        half since it began: the others learned what there was.
        Healthy networks at the start: 9 to 91 %; trained ones with LayerScale were seen at 0.9 %. The book's network
        with four hidden layers: 0.0 % under gradient descent, 1.0 to 1.6 % under Adam.
    What to do:
        What helps against the gradient's vanishing (UT101). An adaptive optimizer helps the steps, not the signal.
    References:
        Nielsen 2015, chapter 5: "neurons in the earlier layers learn much more slowly".
    """
    yield from _frozen(diagnosis, "front", FRONT_BELOW, "UT104", "front layers frozen")


@rule(
    "UT105",
    "back layers frozen",
    sparse_columns=("progress",),
    blocks_converged=Blocks.BEFORE,
    excused_by_convergence=True,
    excused_at_zero_lr=True,
    excused_by_learning=True,
    explains=("UT401", "UT408"),
    explains_by=(HELD_BACK["back"],),
)
def back_frozen(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The back half of the layers hardly takes part in learning.

    What:
        Of the loss's decrease in a step, to first order, almost nothing is due to the back half of the layers.
    Why it is bad:
        The front layers run ahead under a gradient that has exploded on its way; the back ones see a moving target.
    Evidence:
        ``share``: |<g, dw>| over the back half / over all layers that the optimizer holds; ``share later``: the same
        after ten steps, tried on copies.
    Threshold:
        Under 0.05 %, and with the same consequences as for UT104: transformers with a token that starts at zero (AST,
        DeiT) were seen at 0.0 % under plain gradient descent, at 30 % with their optimizer. Networks with BatchNorm,
        whose gradient grows towards the front in good health, were seen at 1 % (MobileNetV2) and 0.2 % (30 plain
        layers) before their first step.
    What to do:
        What helps against the gradient's exploding (UT102).
    References:
        Nielsen 2015, chapter 5, on exploding gradients.
    """
    yield from _frozen(diagnosis, "back", BACK_BELOW, "UT105", "back layers frozen")


@dataclass(frozen=True)
class Half:
    """Some layers, and their share of the progress of all that the optimizer holds."""

    layers: Sequence[LayerSites]
    of: int
    share: float


def halves(diagnosis: Diagnosis) -> dict[str, Half]:
    """Return the share of progress of the ``"front"`` and the ``"back"`` half of the layers that learn.

    Layers that the optimizer given doesn't hold (a GAN's other half) have none, and are no part of either. Everything
    that learns counts where it stands: a scale in front of a sum may learn for the layers behind it. What is born
    from nothing or next to it (a token of zeros, under Adam) outruns all else in its first step, and doesn't count.

    Returns:
        Both halves; empty where there is nothing to judge: too few layers, or no step downhill.
    """
    return diagnosis.once(_halves)


def _halves(diagnosis: Diagnosis) -> dict[str, Half]:
    progress, ratio = diagnosis.column("progress"), diagnosis.column("update_ratio")
    stepped = bool(np.isfinite(ratio).any())
    unknown = np.isnan(ratio).tolist()
    held = [each for each in diagnosis.layers if not stepped or not all(unknown[site] for site in each.sites)]
    if len(held) < FEWEST_LAYERS or np.isnan(progress).all():
        return {}
    from_start = ~(ratio <= 1) if stepped else diagnosis.column("weight_norm") == 0
    part = np.where(from_start, 0.0, np.abs(np.nan_to_num(progress)))
    if not part.any():
        return {}
    back, front = held[: len(held) // 2], held[len(held) - len(held) // 2 :]
    inside = {"back": diagnosis.depth <= back[-1].depth, "front": diagnosis.depth >= front[0].depth}
    shares = {name: float(part[where].sum() / part.sum()) for name, where in inside.items()}
    return {name: Half(layers, len(held), shares[name]) for name, layers in (("back", back), ("front", front))}


def frozen(diagnosis: Diagnosis) -> bool:
    """Tell whether either half makes so little progress that it is worth looking at the steps that follow."""
    found = halves(diagnosis) if _judged(diagnosis) else {}
    limits = {"front": FRONT_BELOW, "back": BACK_BELOW}
    return any(half.share < limits[name] for name, half in found.items())


def _judged(diagnosis: Diagnosis) -> bool:
    return diagnosis.finite and not diagnosis.starts_at_zero


def _frozen(diagnosis: Diagnosis, which: str, below: float, code: str, name: str) -> Iterator[Finding]:
    half = halves(diagnosis).get(which) if _judged(diagnosis) else None
    if half is None or half.share >= below:
        return
    severity, more, numbers = _consequence(diagnosis, which, below)
    slow = unequal_rates(diagnosis, _parameters(diagnosis, half), below / half.share if half.share else np.inf)
    outcome = ""
    if slow is None and 0 < diagnosis.run.header.get("reach", 1.0) < UNMOVED:
        severity, more = Severity.NOTE, ", and steps are too short to tell whether that changes (UT408)"
    if code == "UT104" and severity is Severity.ERROR and slow is None:
        severity, outcome = severity_of(code, half.share, diagnosis.run)  # of UT105 the study has hardly any networks
    where = ", ".join(layer.module for layer in half.layers[:4]) + (", ..." if len(half.layers) > 4 else "")
    sites = tuple(site for layer in half.layers for site in layer.sites)
    text = f"{_hardly_learn(diagnosis, which, half)}{'' if slow is None else f' ({slow[0]})'}{more}.{outcome}"
    limit = f"under {below:.2%} of a step's progress"
    name = name if slow is None else HELD_BACK[which]
    found = Finding(code, name, severity, sites, where, text, {"share": half.share, **numbers}, limit, EQUATION)
    yield (slow[1] if slow is not None else _advice(diagnosis, which)).on(found)


def _hardly_learn(diagnosis: Diagnosis, which: str, half: Half) -> str:
    run, part = diagnosis.run, f"one part in {amount(1 / half.share)}" if half.share else "nothing"
    first, last = (called(run, run.sites[site]) for site in (half.layers[-1].sites[-1], half.layers[0].sites[0]))
    return (
        f"The {which} {len(half.layers)} of {half.of} layers, {first} to {last}, hardly learn: they make {part} of the "
        "progress of a step"
    )


def _parameters(diagnosis: Diagnosis, half: Half) -> set[str]:
    return {name for layer in half.layers for s in layer.sites for name in diagnosis.run.sites[s].parameters}


def _advice(diagnosis: Diagnosis, which: str) -> Advice:
    """Say what makes a half learn by the gradient's size on its way."""
    path = diagnosis.gradient_path
    sites = [diagnosis.run.sites[site] for site in path.sites] if path is not None else list(diagnosis.run.sites)
    if which == "back":
        return against_growth(diagnosis, sites)
    causes = product(diagnosis.gains)
    return against_fading(diagnosis, sites, min(causes, key=lambda cause: causes[cause], default="weights"))


def _consequence(diagnosis: Diagnosis, which: str, below: float) -> tuple[Severity, str, dict[str, float]]:
    """Return how much it matters, and why: what the half does after some steps tells whether it is frozen."""
    header = diagnosis.run.header
    if str(header.get("optimizer", "")).startswith(("none", "not judged")):
        return Severity.NOTE, " of plain gradient descent (no optimizer was given)", {}
    ahead = header.get("ahead")
    if ahead is None or which not in ahead:
        return Severity.ERROR, "", {}
    later, steps = float(ahead[which]), int(ahead["steps"])
    numbers = {"share later": later, "steps later": float(steps)}
    if later >= below:
        return Severity.NOTE, f", and {later:.1%} after {steps} steps: they begin to take part", numbers
    part = f"one in {amount(1 / later)}" if later else "nothing"
    return Severity.ERROR, f", and {part} after {steps} steps", numbers
