"""Read what comes into a layer and into an activation: some examples of the batch, read where autograd saved them."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from undertow.activations import in_torch
from undertow.tape.facts import Weight, saved
from undertow.tape.graph import Node
from undertow.tape.ops import FACTORS

ENOUGH = 2**12
"""Elements before a layer that are looked at; a mean square of so many is right to 3 %, 0.01 decades of a norm."""

ENOUGH_TO_INVERT = 2**10
"""Behind tanh and the sigmoid, where z must be computed anew, and only says why something departs from theory."""

FEWEST = 16
"""Examples that are looked at, however large they are."""

GOLDEN = (5**0.5 - 1) / 2


def inflow(op: str, node: Node, weight: Weight) -> Tensor | None:
    """Some examples of what a layer multiplies, [examples, features]; None where reading is not safe.

    Autograd saves them only if the weight takes gradient.
    """
    names = FACTORS[op]
    (kept_as,) = (name for name in names.values() if name != weight.kept_as)
    x = saved(node, kept_as)
    if x is None or x.is_complex() or x.layout is not torch.strided or not x.numel():
        return None
    return _some(x if weight.on_the_right or op == "convolution" else x.t(), ENOUGH)


def preactivation(op: str, node: Node) -> Tensor | None:
    """Some examples of z, [examples, features]; None where autograd kept nothing that it follows from.

    Of tanh and the sigmoid it kept the result, from which z follows up to where it rounds to 1.
    """
    inverse = _INVERSES.get(op)
    name = "result" if inverse else "self" if op in _KEPT_AS_IT_IS else None
    kept = None if name is None else saved(node, name)
    if kept is None or not kept.numel():
        return None
    return inverse(_some(kept, ENOUGH_TO_INVERT).float()) if inverse else _some(kept, ENOUGH)


def normalised(node: Node) -> Tensor | None:
    """Return some examples of what a vector norm along the features was taken of, [examples, features].

    None where it was taken along anything else, or reading is not safe.
    """
    x, dims = saved(node, "self"), getattr(node, "_saved_dim", None)
    if x is None or x.dim() < 2 or x.is_complex() or not x.numel() or not dims or len(dims) != 1:
        return None
    along = dims[0] if dims[0] < x.dim() else dims[0] - 2**64  # torch counts without a sign
    return _some(x.flatten(0, -2), ENOUGH) if along % x.dim() == x.dim() - 1 else None


_NEARLY_ONE = 1 - 2**-23
_INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda a: torch.atanh(a.clamp(-_NEARLY_ONE, _NEARLY_ONE)),
    "sigmoid": lambda a: torch.logit(a, 1 - _NEARLY_ONE),
}
_KEPT_AS_IT_IS = frozenset(
    {
        *("leaky_relu", "gelu", "silu", "softplus", "hardtanh", "hardswish", "hardsigmoid", "mish", "erf", "sin"),
        *("elu", "celu", "softshrink", "hardshrink", "clamp", "clamp_min"),
    }
) | frozenset(op for op, phi in in_torch().items() if phi.torch is not None and phi.torch.saved == "self")


def _some(rows: Tensor, enough: int) -> Tensor:
    """Examples evenly over the batch, copied; of large ones not every feature, so that it is more than a few.

    What is small is handed on as it is: it waits for its norm without keeping much alive.
    """
    if rows.numel() <= enough:
        return rows.flatten(1) if rows.dim() > 2 else rows
    rows = rows if rows.dim() > 1 else rows[:, None]
    count = min(len(rows), max(FEWEST, enough * len(rows) // rows.numel()))
    step = max(1, count * rows.numel() // len(rows) // enough) | 1  # odd: in step with no power of two
    if not rows.is_contiguous():  # channels last, most often: contiguous in another order
        rows = rows.permute(0, *sorted(range(1, rows.dim()), key=rows.stride, reverse=True))
    if rows.is_contiguous():
        rows = rows.flatten(1)[:, ::step]
    return rows.index_select(0, spread_out(len(rows), count, rows.device)).flatten(1)


@lru_cache(maxsize=256)
@lru_cache(maxsize=64)
def spread_out(rows: int, count: int, device: torch.device) -> Tensor:
    """Places in golden steps: even over the batch, and in step with no period that it may have. Don't change them."""
    return ((torch.arange(count, dtype=torch.float64) * GOLDEN + 0.5) % 1 * rows).long().to(device)
