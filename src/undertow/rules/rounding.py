"""Steps that are too small for the weights' precision, part of UT401: rounding takes them back."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Severity, Site
from undertow.rules.advice.steps import longer_steps, optimizer_of
from undertow.rules.consequences import ADAPTIVE, ANY, optimizer_kind

HALF_A_UNIT = 6e-8
SMALLEST_HALF = 6e-8
"""The smallest positive number of float16."""

STUCK = 0.6
MOST_BY_MOMENTUM = 10.0
"""Times its gradient that a step of SGD with momentum may come to."""

HALF_A_DIGIT = {"torch.bfloat16": 2**-8.5, "torch.float16": 2**-11.5}
"""Half of the distance between neighbours / the number itself, between two powers of two."""


def received_rms(diagnosis: Diagnosis, site: Site) -> float:
    """Return the root mean square of the gradient that a Site receives, multiplied by the loss scale."""
    received = float(diagnosis.column("grad_output")[site.index]) * diagnosis.loss_scale
    return received / math.sqrt(math.prod(site.shape) or 1)


def rounded_away(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Report steps of less than half of what float32 can tell apart, or in coarser weights of nothing at all."""
    ratio, gradient = diagnosis.column("update_ratio"), diagnosis.column("weight_grad_norm")
    layers = [s.index for s in diagnosis.run.sites if s.role is Role.WEIGHT and np.isfinite(ratio[s.index])]
    lost = tuple(site for site in layers if ratio[site] < HALF_A_UNIT and gradient[site] > 0)
    if diagnosis.run.header.get("lr") == 0 or not diagnosis.finite:
        return
    if len(lost) < len(layers) / 2:
        stuck = _stuck(diagnosis)
        if stuck >= STUCK:
            yield _partly_rounded_away(diagnosis, layers, stuck)
        return
    if not layers:
        return
    text = (
        f"A step of {optimizer_of(diagnosis.run.header)} is too small for {len(lost)} of {len(layers)} layers: "
        "it is less than their weights' last digit, and rounding takes it back."
    )
    numbers = {"ratio": float(np.median(ratio[list(lost)])), "layers": float(len(lost))}
    where, limit = diagnosis.name(lost[0]), f"||dw|| / ||w|| < {HALF_A_UNIT} in half of the layers"
    found = Finding("UT401", "update too small", Severity.WARNING, lost, where, text, numbers, limit)
    yield longer_steps(diagnosis.run.header, numbers["ratio"], len(lost) == len(layers)).on(found)


def _partly_rounded_away(diagnosis: Diagnosis, layers: Sequence[int], stuck: float) -> Finding:
    ratio = diagnosis.column("update_ratio")
    kinds = " and ".join(each.removeprefix("torch.") for each in diagnosis.run.header.get("dtypes", ()))
    text = (
        f"A step of {optimizer_of(diagnosis.run.header)} leaves most weights as they are, {stuck:.0%} by the size of "
        f"their gradient: it is less than half of their last digit in {kinds or 'half precision'}, and rounding takes "
        "it back."
    )
    numbers = {"stuck": stuck, "ratio": float(np.median(ratio[list(layers)])) if layers else 0.0}
    where, limit = (
        diagnosis.name(layers[0]) if layers else "",
        f"{STUCK:.0%} of the gradient on weights that don't change",
    )
    found = Finding("UT401", "update too small", Severity.WARNING, tuple(layers), where, text, numbers, limit)
    return longer_steps(diagnosis.run.header, numbers["ratio"], everywhere=True).on(found)


def _stuck(diagnosis: Diagnosis) -> float:
    """Return the share of the gradient, or of the weights of the median layer, that a step leaves as they are."""
    header = diagnosis.run.header
    if "stuck" in header or not {"lr", "loss"} <= set(diagnosis.run.steps):
        return float(header.get("stuck", 0.0))
    kinds = list(header.get("dtypes", ()))
    digit = HALF_A_DIGIT.get(kinds[0]) if len(kinds) == 1 else None
    if digit is None:
        return 0.0
    shares = [_unmoved(diagnosis, site, digit) for site in diagnosis.run.sites if site.role is Role.WEIGHT]
    known = [share for share in shares if share is not None]
    return float(np.median(known)) if known else 0.0


def _unmoved(diagnosis: Diagnosis, site: Site, digit: float) -> float | None:
    """Return the share of a layer's weights, were they normal, that the longest step so far is too short for."""
    size, rates = math.prod(site.weight_shape), np.asarray(diagnosis.run.steps["lr"], float)
    weight, gradient = (float(diagnosis.column(name)[site.index]) for name in ("weight_norm", "weight_grad_norm"))
    rate = float(np.nanmax(rates, initial=0.0))
    kind = optimizer_kind(diagnosis.run)
    if kind == ANY or len(site.weight_shape) < 2 or not (weight > 0 and gradient > 0 and rate > 0):
        return None
    plain = MOST_BY_MOMENTUM * gradient / math.sqrt(size)
    step = rate * (1.0 if kind == ADAPTIVE else plain)
    return math.erfc(step / digit / (weight / math.sqrt(size)) / math.sqrt(2))
