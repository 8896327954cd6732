"""What comes into a layer and into an activation: a part of the batch, read where autograd saved it."""

from collections.abc import Callable

import torch
from torch import Tensor

from undertow.tape.facts import FACTORS, Weight, saved
from undertow.tape.graph import Node

ENOUGH = 2**16
"""Elements that are looked at; a mean square of so many is right to a percent."""


def inflow(op: str, node: Node, weight: Weight) -> Tensor | None:
    """Examples, evenly taken out of the batch, as rows [examples, ...]; None where reading them is not safe.

    Autograd saves them only if the weight takes gradient.
    """
    names = FACTORS[op]
    (kept_as,) = (name for name in names.values() if name != weight.kept_as)
    x = saved(node, kept_as)
    if x is None or x.is_complex() or not x.numel():
        return None
    rows = x if weight.on_the_right or op == "convolution" else x.t()
    return _part(rows)


def preactivation(op: str, node: Node) -> Tensor | None:
    """z, evenly taken out of the batch, [examples, ...]; None where autograd kept nothing that it follows from.

    Of tanh and the sigmoid it kept the result, from which z follows up to where it rounds to 1.
    """
    if op in _INVERSES:
        kept = saved(node, "result")
        return None if kept is None or not kept.numel() else _INVERSES[op](_part(kept).float())
    kept = saved(node, "self") if op in _KEPT_AS_IT_IS else None
    return None if kept is None or not kept.numel() else _part(kept)


_NEARLY_ONE = 1 - 2**-23
_INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda a: torch.atanh(a.clamp(-_NEARLY_ONE, _NEARLY_ONE)),
    "sigmoid": lambda a: torch.logit(a, 1 - _NEARLY_ONE),
}
_KEPT_AS_IT_IS = frozenset(
    ("leaky_relu", "gelu", "silu", "softplus", "hardtanh", "hardswish", "hardsigmoid", "mish", "erf", "sin")
)


def _part(rows: Tensor) -> Tensor:
    return rows[:: -(-rows.numel() // ENOUGH)]
