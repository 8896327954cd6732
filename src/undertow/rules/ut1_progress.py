"""UT104 and UT105: which half of the layers makes the progress."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from undertow.diagnosis import Diagnosis, Layer
from undertow.record import Finding, Severity
from undertow.rules.registry import Blocks, rule

FRONT_BELOW, BACK_BELOW = 0.005, 0.0005
FEWEST_LAYERS = 4
EQUATION = "share of progress = |<g_l, dw_l>| / sum over layers"


@rule(
    "UT104",
    "front layers frozen",
    sparse_columns=("progress",),
    blocks_converged=Blocks.BEFORE,
    excused_by_convergence=True,
    excused_at_zero_lr=True,
)
def front_frozen(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The front half of the layers hardly takes part in learning.

    What:
        Of the loss's decrease in a step, to first order, almost nothing is due to the front half of the layers.
    Why it is bad:
        What the front layers pass on stays what it was at the random start: their depth is wasted.
    Evidence:
        ``share``: |<g, dw>| over the front half / over all layers. It sums to 1, whatever the widths, kinds of layer,
        scale of the loss or optimizer (given to examine; without one gradient descent is assumed).
    Threshold:
        Under 0.5 %. Healthy networks at the start: 9 to 91 %; trained ones with LayerScale were seen at 0.9 %. The
        book's network with four hidden layers: 0.0 % under gradient descent, 1.6 % under Adam.
    What to do:
        What helps against the gradient's vanishing (UT101). An adaptive optimizer helps the steps, not the signal.
    References:
        Nielsen 2015, chapter 5: "neurons in the earlier layers learn much more slowly".
    """
    half = len(diagnosis.layers) // 2
    front = diagnosis.layers[len(diagnosis.layers) - half :]
    if front:
        inside = diagnosis.depth >= front[0].depth
        yield from _frozen(diagnosis, front, inside, FRONT_BELOW, "UT104", "front layers frozen")


@rule(
    "UT105",
    "back layers frozen",
    sparse_columns=("progress",),
    blocks_converged=Blocks.BEFORE,
    excused_by_convergence=True,
    excused_at_zero_lr=True,
)
def back_frozen(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The back half of the layers hardly takes part in learning.

    What:
        Of the loss's decrease in a step, to first order, almost nothing is due to the back half of the layers.
    Why it is bad:
        The front layers run ahead under a gradient that has exploded on its way; the back ones see a moving target.
    Evidence:
        ``share``: |<g, dw>| over the back half / over all layers.
    Threshold:
        Under 0.05 %. Networks with BatchNorm, whose gradient grows towards the front in good health, were seen at 1 %
        (MobileNetV2) and 0.2 % (30 plain layers) before their first step.
    What to do:
        What helps against the gradient's exploding (UT102).
    References:
        Nielsen 2015, chapter 5, on exploding gradients.
    """
    back = diagnosis.layers[: len(diagnosis.layers) // 2]
    if back:
        inside = diagnosis.depth <= back[-1].depth
        yield from _frozen(diagnosis, back, inside, BACK_BELOW, "UT105", "back layers frozen")


def _frozen(
    diagnosis: Diagnosis, layers: Sequence[Layer], inside: NDArray[np.bool_], below: float, code: str, name: str
) -> Iterator[Finding]:
    """Judge the share of some layers.

    Everything that learns counts where it stands: a scale in front of a sum may learn for the layers behind it.
    """
    if len(diagnosis.layers) < FEWEST_LAYERS or diagnosis.starts_at_zero or not diagnosis.finite:
        return
    progress = diagnosis.column("progress")
    if np.isnan(progress).all():  # not a step downhill: nothing to have a share of
        return
    # What is born from nothing or next to it (a token of zeros, under Adam) outruns all else in its first step.
    ratio = diagnosis.column("update_ratio")
    from_start = ~(ratio <= 1) if np.isfinite(ratio).any() else diagnosis.column("weight_norm") == 0
    part = np.where(from_start, 0.0, np.abs(np.nan_to_num(progress)))
    if not part.any():
        return
    share = float(part[inside].sum() / part.sum())
    if share >= below:
        return
    where = ", ".join(layer.module for layer in layers[:4]) + (", ..." if len(layers) > 4 else "")
    text = f"{len(layers)} of {len(diagnosis.layers)} layers make {share:.1%} of the progress of a step."
    sites = tuple(site for layer in layers for site in layer.sites)
    limit = f"under {below:.2%} of a step's progress"
    yield Finding(code, name, Severity.ERROR, sites, where, text, {"share": share}, limit, EQUATION)
