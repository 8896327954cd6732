"""Cosines that a cross-entropy takes as they are, part of UT503: similarities of examples without a temperature."""

import math
from collections.abc import Iterator

from undertow.record import Finding, Run, Severity, Site
from undertow.rules.advice.losses import temperature_given

_PRODUCTS = frozenset({"mm", "bmm", "matmul"})
_LEFT_OUT = frozenset({"masked_fill", "index", "slice", "diagonal"})
_RESHAPED = frozenset({"view", "unsafe_view", "reshape", "t", "transpose", "permute", "expand", "clone", "unsqueeze"})
_QUOTIENTS = frozenset({"div", "mul"})
_LENGTHS, _ROOTS = frozenset({"linalg_vector_norm", "norm"}), frozenset({"sqrt", "rsqrt"})
_GUARDS = _RESHAPED | {"clamp_min", "clamp", "add", "squeeze", "reciprocal"}
FEWEST = 3
"""Examples that are told apart: of two the loss can come near 0."""


def cosines_unscaled(run: Run, outer: Site) -> Finding | None:
    """Return what to say of a softmax in the loss that takes cosines of computed vectors; None where it does not.

    Args:
        run: of the Sites.
        outer: the softmax. A factor between the two is a temperature, whatever its size.

    Example:
        >>> from undertow.record import Role
        >>> softmax = Site(0, "", "log_softmax", Role.LOSS, (8, 8))
        >>> cosines_unscaled(Run({}, (softmax,)), softmax)
    """
    inner = next(_behind(run, outer, _LEFT_OUT | _RESHAPED), None)
    if inner is None or inner.op not in _PRODUCTS or inner.parameters or len(inner.shape) < 2:
        return None
    factors = [*_behind(run, inner, _RESHAPED)]
    itself = len(factors) == 1 and inner.shape[-1] == inner.shape[-2]
    several = inner.shape[-1]
    if several < FEWEST or not (itself or len(factors) == 2) or not all(_is_of_length_one(run, f) for f in factors):
        return None
    floor = math.log1p((several - 1) * math.exp(-several / (several - 1)))
    text = (
        f"The loss's softmax takes cosines as they are, between -1 and 1: it can't be sure, and "
        f"of {several} the loss can't come under {floor:.2g}, where guessing has {math.log(several):.2g}."
    )
    limit, numbers = "cosines are divided by a temperature in front of a softmax", {"floor": floor}
    equation = "L >= log(1 + (C - 1) e^(-C/(C - 1))), with cosines of 1 and -1/(C - 1)"
    sites = (outer.index, inner.index)
    made = Finding("UT503", "no temperature", Severity.WARNING, sites, inner.name, text, numbers, limit, equation)
    return temperature_given(inner).on(made)


def _behind(run: Run, site: Site, passed_over: frozenset[str]) -> Iterator[Site]:
    """Yield what a Site's values are computed from, through operations that only move them."""
    for edge in run.outgoing[site.index]:
        target = run.sites[run.edges[edge].target]
        if target.op in passed_over:
            yield from _behind(run, target, passed_over)
        else:
            yield target


def _is_of_length_one(run: Run, site: Site) -> bool:
    """Tell whether a vector was divided by its own length."""
    if site.op not in _QUOTIENTS:
        return False
    for each in _behind(run, site, _GUARDS):
        of_squares = each.op in _ROOTS and any(b.op == "sum" for b in _behind(run, each, _GUARDS))  # of a mean: longer
        if each.op in _LENGTHS or of_squares:
            return True
    return False
