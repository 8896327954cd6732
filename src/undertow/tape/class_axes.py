"""Along which axis of a softmax the classes of a likelihood lie, through whatever reshapes lie between the two."""

import math
from collections.abc import Sequence
from typing import Any

from undertow.operations import SOFTMAXES
from undertow.tape.graph import Node
from undertow.tape.ops import op_name

_CUT = frozenset({"view", "unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze"})
_SAME = frozenset({"clone", "to_copy", "contiguous"})


def softmax_behind(node: Node | None, shape: Sequence[int], axis: int = 1) -> tuple[Node, int] | None:
    """Return the softmax whose output a loss takes, and the axis of it along which the loss takes its classes.

    Args:
        node: of the tensor that the loss takes.
        shape: that tensor's.
        axis: the one of its axes that the loss takes classes along.

    Returns:
        None if no softmax is there, or if classes don't lie along one axis of it.

    Example:
        >>> import torch
        >>> z = torch.zeros(2, 3, 4, requires_grad=True).log_softmax(1)
        >>> softmax_behind(z.reshape(6, 4).grad_fn, (6, 4))[1], softmax_behind(z.transpose(1, 2).grad_fn, (2, 4, 3))[1]
        (2, 2)
    """
    sizes, found = list(shape), node
    while found is not None and 0 <= axis < len(sizes):
        op = op_name(found.name())
        if op in SOFTMAXES:
            return found, axis
        if op in _CUT and hasattr(found, "_saved_self_sym_sizes"):
            before = [int(size) for size in found._saved_self_sym_sizes]
            axis, sizes = _before_reshape(before, sizes, axis), before
        elif op in ("transpose", "permute"):
            order = _order(found, op, len(sizes))
            axis, sizes = order[axis], [sizes[order.index(n)] for n in range(len(sizes))]
        elif op not in _SAME:
            return None
        found = found.next_functions[0][0]
    return None


def _order(node: Any, op: str, axes: int) -> list[int]:
    """Return which axis of what came in each axis of what came out is."""
    if op == "permute":
        return [_signed(dim) % axes for dim in node._saved_dims]
    order, first, second = list(range(axes)), _signed(node._saved_dim0) % axes, _signed(node._saved_dim1) % axes
    order[first], order[second] = second, first
    return order


def _before_reshape(before: Sequence[int], after: Sequence[int], axis: int) -> int:
    """Return the axis whose numbers an axis of the reshaped tensor holds; -1 if it holds several ones', or a part."""
    inner = math.prod(after[axis + 1 :])
    places = range(len(before))
    return next((n for n in places if before[n] == after[axis] and math.prod(before[n + 1 :]) == inner), -1)


def _signed(dim: int) -> int:
    """Return an axis as it was given: autograd keeps negative ones as unsigned numbers."""
    return dim - 2**64 if dim >= 2**63 else dim
