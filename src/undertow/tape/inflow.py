"""What comes into a layer and into an activation: some examples of the batch, read where autograd saved them."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from undertow.tape.facts import FACTORS, Weight, saved
from undertow.tape.graph import Vertex

ENOUGH = 2**13
"""Elements before a layer that are looked at; a mean square of so many is right to 2 %, 0.01 decades of a norm."""

ENOUGH_TO_EXPLAIN = 2**10
"""Before an activation, where the mean square only says why something departs from theory."""

GOLDEN = (5**0.5 - 1) / 2


def inflow(vertex: Vertex, weight: Weight) -> Tensor | None:
    """Some examples of what a layer multiplies, [examples, features], copied; None where reading is not safe.

    Autograd saves them only if the weight takes gradient.
    """
    names = FACTORS[vertex.op]
    (kept_as,) = (name for name in names.values() if name != weight.kept_as)
    x = saved(vertex.node, kept_as)
    if x is None or x.is_complex() or not x.numel():
        return None
    return _some(x if weight.on_the_right or vertex.op == "convolution" else x.t(), ENOUGH)


def preactivation(vertex: Vertex) -> Tensor | None:
    """Some examples of z, [examples, features], copied; None where autograd kept nothing that it follows from.

    Of tanh and the sigmoid it kept the result, from which z follows up to where it rounds to 1.
    """
    inverse = _INVERSES.get(vertex.op)
    name = "result" if inverse else "self" if vertex.op in _KEPT_AS_IT_IS else None
    kept = None if name is None else saved(vertex.node, name)
    if kept is None or not kept.numel():
        return None
    part = _some(kept, ENOUGH_TO_EXPLAIN)
    return inverse(part.float()) if inverse else part


_NEARLY_ONE = 1 - 2**-23
_INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda a: torch.atanh(a.clamp(-_NEARLY_ONE, _NEARLY_ONE)),
    "sigmoid": lambda a: torch.logit(a, 1 - _NEARLY_ONE),
}
_KEPT_AS_IT_IS = frozenset(
    ("leaky_relu", "gelu", "silu", "softplus", "hardtanh", "hardswish", "hardsigmoid", "mish", "erf", "sin")
)


def _some(rows: Tensor, enough: int) -> Tensor:
    count = max(1, enough * len(rows) // rows.numel())
    some = rows.clone() if count >= len(rows) else rows.index_select(0, _spread_out(len(rows), count, rows.device))
    return some.flatten(1)


@lru_cache(maxsize=256)
def _spread_out(rows: int, count: int, device: torch.device) -> Tensor:
    """Places in golden steps: even over the batch, and in step with no period that it may have."""
    return ((torch.arange(count, dtype=torch.float64) * GOLDEN % 1) * rows).long().to(device)
