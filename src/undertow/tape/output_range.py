"""Which values the last operation in front of a loss can reach, read from its Node."""

import math
from collections.abc import Callable, Container
from typing import Any

from torch import Tensor

from undertow.tape.ops import RESHAPES, op_name

Node = Any  # torch.autograd.graph.Node has no public attributes for what is needed here
Range = tuple[float, float]

_FIXED: dict[str, Range] = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "erf": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "exp": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "abs": (0.0, math.inf),
    "sqrt": (0.0, math.inf),
    "linalg_vector_norm": (0.0, math.inf),
    "log_softmax": (-math.inf, 0.0),
    "log_sigmoid": (-math.inf, 0.0),
    "gelu": (-0.17, math.inf),
    "silu": (-0.2785, math.inf),
    "mish": (-0.3089, math.inf),
}
"""Closed, though some are only approached: a target at the edge is as good as reached."""


OF_STATES: dict[str, Range] = {
    "lstm": (-1.0, 1.0),
    "gru": (-1.0, 1.0),
    "rnn_tanh": (-1.0, 1.0),
    "rnn_relu": (0.0, math.inf),
}
"""What the states of recurrent layers can reach (an LSTM's without projection, a GRU's that starts at 0)."""


def last_operation(node: Node | None, known: Container[Node] = ()) -> Node | None:
    """Return the Node of the last operation that changed values, or the first of those ``known`` on the way to it.

    Reshapes, casts and copies are passed over.

    Example:
        >>> import torch
        >>> x = torch.zeros(3, 1, requires_grad=True)
        >>> last_operation(torch.relu(x).squeeze(1).grad_fn).name()
        'ReluBackward0'
    """
    while node is not None and node not in known and op_name(node.name()) in RESHAPES:
        node = next((source for source, _ in node.next_functions if source is not None), None)
    return node


def reach(node: Node) -> Range | None:
    """Return the smallest interval that holds all values of a Node's operation; None where nothing bounds them.

    Example:
        >>> import torch
        >>> x = torch.zeros(3, requires_grad=True)
        >>> reach(x.clamp(-2, 2).grad_fn), reach(torch.sigmoid(x).grad_fn), reach((2 * x).grad_fn)
        ((-2.0, 2.0), (0.0, 1.0), None)
    """
    op = op_name(node.name())
    if op in _FIXED:
        return _FIXED[op]
    special = _SPECIAL.get(op)
    try:
        return None if special is None else special(node)
    except (AttributeError, RuntimeError):  # another version of torch saves other things
        return None


def is_standardised(node: Node) -> bool:
    """Tell whether a Node's operation gives its values mean 0 and spread 1: batch norm in training, without weights.

    Example:
        >>> import torch
        >>> x = torch.randn(8, 2, requires_grad=True)
        >>> norms = (torch.nn.BatchNorm1d(2, affine=affine) for affine in (False, True))
        >>> [is_standardised(norm(x).grad_fn) for norm in norms]
        [True, False]
    """
    if not op_name(node.name()).endswith("batch_norm"):
        return False
    weights = [source for source, _ in node.next_functions[1:3]]
    return bool(getattr(node, "_saved_training", True)) and not any(weights)


def standardised(x: Tensor) -> Tensor:
    """Return values of mean 0 and spread 1."""
    return (x - x.mean()) / x.std(correction=0).clamp(min=1e-12)


def nearest(node: Node, wanted: Tensor) -> Tensor | None:
    """Return the values nearest to the wanted ones that a Node's operation can return; None where nothing bounds them.

    Args:
        node: of the last operation in front of a loss.
        wanted: targets, floating point.
    """
    if is_standardised(node):
        return standardised(wanted)
    limits = reach(node)
    return None if limits is None else wanted.clamp(*limits)


def _clamp(node: Node) -> Range:
    return _number(node._saved_min, -math.inf), _number(node._saved_max, math.inf)


def _number(value: Any, unbounded: float) -> float:
    return unbounded if value is None else float(value)


def _power(node: Node) -> Range | None:
    exponent = float(node._saved_exponent)
    return (0.0, math.inf) if exponent % 2 == 0 else None


_SPECIAL: dict[str, Callable[[Node], Range | None]] = {
    "clamp": _clamp,
    "clamp_min": lambda node: (_number(node._saved_min, -math.inf), math.inf),
    "clamp_max": lambda node: (-math.inf, _number(node._saved_max, math.inf)),
    "hardtanh": lambda node: (float(node._saved_min_val), float(node._saved_max_val)),
    "elu": lambda node: (-abs(float(node._saved_alpha) * float(node._saved_scale)), math.inf),
    "threshold": lambda node: (float(node._saved_threshold), math.inf),
    "pow": _power,
}
