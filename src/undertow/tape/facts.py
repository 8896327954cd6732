"""Forward facts, read from what autograd saved for the backward pass, and only where that is safe.

Reading a saved tensor runs the user's saved-tensor hooks, if there are any: under checkpointing that would compute
the block again, each time. Such tensors are left alone. All of it happens inside Node hooks, as sharded models have
no storage behind their saved tensors at any other time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.activations import ACTIVATIONS, LEAKY_SLOPE, SELU_SCALE, Libraries, in_torch
from undertow.measure import Slopes
from undertow.tape.graph import Node, Vertex
from undertow.tape.ops import ADDENDS, FACTORS
from undertow.tape.packed import may_be_packed

aten = torch.ops.aten

Part = tuple[Any, ...]
"""An index of a part of a tensor."""

_ALL = slice(None)

SHRINK_LAMBDA = 0.5
"""torch's own setting of soft and hard shrinkage."""

PEAKS = {name: each.peak for name, each in ACTIVATIONS.items()} | {
    "hardtanh": 1.0,
    "hardswish": 1.5,
    "hardsigmoid": 1 / 6,
    "mish": 1.0885,
    "log_sigmoid": 1.0,
    "prelu_kernel": 1.0,
    "threshold": 1.0,
    "rrelu_with_noise": 1.0,
    "sin": 1.0,
    "celu": 1.0,
    "softshrink": 1.0,
    "hardshrink": 1.0,
    "glu": 1.0,
}
"""The largest |phi'| of every activation that is an operation of torch's own."""


_KNOWN = {op: phi.torch for op, phi in in_torch().items() if phi.torch is not None}
_TORCH = Libraries(torch, torch.special)

_BOUNDED = frozenset({"hardsigmoid", "hardtanh", "sin"}) | {op for op, known in _KNOWN.items() if known.bounded}

RISING = frozenset(
    {"hardsigmoid", "hardtanh", "log_sigmoid", "threshold", "softshrink", "hardshrink", "clamp", "clamp_min"}
) | {op for op, known in _KNOWN.items() if known.rising}
"""Activations whose derivative is nowhere negative, whatever their settings."""


def clips(vertex: Vertex) -> bool:
    """Tell whether an operation is a clamp that serves as an activation where it lies between layers.

    It has two limits, both numbers, or the one of a ReLU.
    """
    if vertex.op not in ("clamp", "clamp_min"):
        return False
    low, high = _limits(vertex.node)
    numbers = all(each is None or isinstance(each, int | float) for each in (low, high))
    return numbers and (low is not None) and (high is not None or low == 0)


def _limits(node: Node) -> tuple[Any, Any]:
    return node._saved_min, getattr(node, "_saved_max", None)


def bounded(vertex: Vertex) -> bool:
    """Tell whether an activation saturates on both sides. ReLU6 is a hardtanh that doesn't: it is off, as a ReLU is."""
    if vertex.op in ("clamp", "clamp_min"):
        low, high = _limits(vertex.node)
        return high is not None and (low < 0 or high <= 1)
    return vertex.op in _BOUNDED and not (vertex.op == "hardtanh" and vertex.node._saved_min_val >= 0)


def activation_name(vertex: Vertex) -> str:
    """torch's name for the operation, with its settings where they aren't the usual ones; SELU is its own."""
    node = vertex.node
    if vertex.op == "leaky_relu" and node._saved_negative_slope != LEAKY_SLOPE:
        return f"leaky_relu({node._saved_negative_slope:g})"
    if vertex.op == "elu" and (node._saved_alpha, node._saved_scale, node._saved_input_scale) != (1, 1, 1):
        return "selu" if abs(node._saved_scale - SELU_SCALE) < 1e-6 else f"elu({node._saved_alpha:g})"
    if vertex.op == "celu" and node._saved_alpha != 1:
        return f"celu({node._saved_alpha:g})"
    if vertex.op == "softplus" and node._saved_beta != 1:
        return f"softplus({node._saved_beta:g})"
    if vertex.op == "hardtanh":
        return f"hardtanh({node._saved_min_val:g}, {node._saved_max_val:g})"
    if vertex.op in ("clamp", "clamp_min"):
        low, high = _limits(node)
        return "relu" if high is None else f"hardtanh({low:g}, {high:g})"
    if vertex.op in ("softshrink", "hardshrink") and node._saved_lambd != SHRINK_LAMBDA:
        return f"{vertex.op}({node._saved_lambd:g})"
    return vertex.op


def saved(node: Node, name: str) -> Tensor | None:
    """A tensor that a Node saved, or None where reading it is not safe. To be read with gradients off."""
    if may_be_packed(node, name):
        return None
    value = getattr(node, f"_saved_{name}")
    return value if isinstance(value, Tensor) else None


def slopes(op: str, node: Node) -> Slopes | None:
    """phi'(z), in the shape of z; None where it is not known or not safe to read.

    Args:
        op: torch's name for the activation.
        node: of its backward pass.
    """
    if op in _WRITTEN:
        kept = saved(node, "result")
        return None if kept is None else Slopes(kept, _WRITTEN[op], costly=False, switch=op == "relu")
    if op in _OF_TWO:
        return _of_two(op, node)
    if op not in _DERIVATIVES:
        return _from_formula(op, node)
    names, formula = _DERIVATIVES[op]
    kept = _first_saved(node, names)
    return None if kept is None else Slopes(kept, partial(formula, node))


def _of_two(op: str, node: Node) -> Slopes | None:
    names, formula = _OF_TWO[op]
    kept = _first_saved(node, names)
    slope = None if kept is None else formula(node, kept)
    return None if slope is None else Slopes(slope, lambda known: known, elementwise=False)


def _first_saved(node: Node, names: Sequence[str]) -> Tensor | None:
    return next((found for name in names if (found := saved(node, name)) is not None), None)


def _from_formula(op: str, node: Node) -> Slopes | None:
    """phi'(z) of an activation that is known by its entry alone, where autograd kept z."""
    phi = in_torch().get(op)
    if phi is None or phi.torch is None or phi.torch.saved != "self" or phi.formulas is None:
        return None
    z, formula = saved(node, "self"), phi.formulas[1]
    return None if z is None else Slopes(z, lambda kept: formula(kept, _TORCH), elementwise=False)


def _from_kernel(kernel: Callable[..., Tensor], *settings: str) -> Callable[[Node, Tensor], Tensor]:
    """torch's own backward kernel, given ones: exact for every setting of the activation."""

    def formula(node: Node, z: Tensor) -> Tensor:
        return kernel(torch.ones_like(z), z, *(getattr(node, f"_saved_{each}") for each in settings))

    return formula


def _in_place(node: Node) -> bool:
    """Tell whether the operation wrote over z, and autograd kept its result instead."""
    return bool(getattr(node, "_saved_is_result", hasattr(node, "_raw_saved_result")))


def _elu(node: Node, kept: Tensor) -> Tensor:
    shape = (node._saved_alpha, node._saved_scale, node._saved_input_scale)
    return aten.elu_backward(torch.ones_like(kept), *shape, _in_place(node), kept)


def _celu(node: Node, kept: Tensor) -> Tensor:
    return aten.elu_backward(
        torch.ones_like(kept), node._saved_alpha, 1.0, 1 / node._saved_alpha, _in_place(node), kept
    )


def _leaky_relu(node: Node, kept: Tensor) -> Tensor:
    """Its result has the sign of z, as in place torch takes no negative slope."""
    return torch.where(kept > 0, 1.0, node._saved_negative_slope).to(kept.dtype)


def _rrelu(node: Node, kept: Tensor) -> Tensor | None:
    """The slopes drawn in training, which are kept beside z; their mean in evaluation."""
    if not node._saved_training:
        return torch.where(kept > 0, 1.0, (node._saved_lower + node._saved_upper) / 2).to(kept.dtype)
    noise = saved(node, "noise")
    return None if noise is None else torch.where(kept > 0, 1.0, noise).to(kept.dtype)


def _prelu(node: Node, z: Tensor) -> Tensor | None:
    slope = saved(node, "weight")
    return None if slope is None else torch.where(z > 0, 1.0, slope).to(z.dtype)


def _glu(node: Node, z: Tensor) -> Tensor:
    """The norm of the two derivatives of a sigma(b), by a and by b, in the shape of the result."""
    a, b = z.chunk(2, _signed(node._saved_dim))
    gate = torch.sigmoid(b)
    return torch.hypot(gate, a * gate * (1 - gate))


def _signed(dim: int) -> int:
    """A dimension as torch counts it; negative ones come out of a Node as unsigned numbers."""
    return dim - 2**64 if dim >= 2**63 else dim


def taken(op: str, node: Node) -> Part | None:
    """Return where in its input the part lies that an operation takes: the gradient of all else there is zero.

    Returns:
        An index; None for operations that take no part as it is.

    Example:
        >>> x = torch.arange(6.0).view(2, 3).requires_grad_()
        >>> [x[taken("select", part.grad_fn)].tolist() for part in (x[-1], x.select(-1, 2))]
        [[3.0, 4.0, 5.0], [2.0, 5.0]]
        >>> x[taken("slice", x[:, -2:].grad_fn)].tolist(), taken("exp", x.exp().grad_fn)
        ([[1.0, 2.0], [4.0, 5.0]], None)
    """
    if op == "select":
        at: int | slice = _signed(node._saved_index)
    elif op == "slice":
        at = slice(_signed(node._saved_start), _signed(node._saved_end), node._saved_step)
    else:
        return None
    dim = _signed(node._saved_dim)
    return (_ALL,) * dim + (at,) if dim >= 0 else (..., at, *(_ALL,) * (-dim - 1))


def _outside(node: Node, z: Tensor) -> Tensor:
    return (z.abs() > node._saved_lambd).to(z.dtype)


def _inside_limits(node: Node, z: Tensor) -> Tensor:
    low, high = _limits(node)
    return ((z > low) if high is None else (z > low) & (z < high)).to(z.dtype)


def _softplus(node: Node, z: Tensor) -> Tensor:
    return aten.softplus_backward(torch.ones_like(z), z, node._saved_beta, node._saved_threshold)


def _log_sigmoid(_: Node, z: Tensor) -> Tensor:
    return torch.sigmoid(-z)


_WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda s: torch.addcmul(s, s, s, value=-1),
    "tanh": lambda t: torch.addcmul(_one(t), t, t, value=-1),
    "relu": torch.sign,  # on CPU ten times as fast as to compare and convert
}
"""The usual ones, from their result."""


def _one(like: Tensor) -> Tensor:
    return torch.ones((), dtype=like.dtype, device=like.device)


_EITHER = ("self", "result", "self_or_result")
"""What an activation that may work in place keeps, by the names that torch has had for it."""

_OF_TWO: dict[str, tuple[tuple[str, ...], Callable[[Any, Tensor], Tensor | None]]] = {
    "rrelu_with_noise": (_EITHER, _rrelu),
    "prelu_kernel": (("self",), _prelu),
    "glu": (("self",), _glu),
}
"""What doesn't follow from one number alone: other tensors or places go into it, and may be out of reach."""

_DERIVATIVES: dict[str, tuple[tuple[str, ...], Callable[[Any, Tensor], Tensor]]] = {
    "leaky_relu": (_EITHER, _leaky_relu),
    "elu": (_EITHER, _elu),
    "celu": (_EITHER, _celu),
    "clamp": (("self",), _inside_limits),
    "clamp_min": (("self",), _inside_limits),
    "softshrink": (("self",), _outside),
    "hardshrink": (("self",), _outside),
    "gelu": (("self",), lambda node, z: aten.gelu_backward(torch.ones_like(z), z, approximate=node._saved_approximate)),
    "silu": (("self",), _from_kernel(aten.silu_backward)),
    "softplus": (("self",), _softplus),
    "hardtanh": (("self",), _from_kernel(aten.hardtanh_backward, "min_val", "max_val")),
    "hardswish": (("self",), _from_kernel(aten.hardswish_backward)),
    "hardsigmoid": (("self",), _from_kernel(aten.hardsigmoid_backward)),
    "mish": (("self",), _from_kernel(aten.mish_backward)),
    "erf": (("self",), lambda _, z: 2 / torch.pi**0.5 * torch.exp(-z * z)),
    "log_sigmoid": (("self",), _log_sigmoid),
    "threshold": (("self",), lambda node, z: (z > node._saved_threshold).to(z.dtype)),
    "sin": (("self",), lambda _, z: torch.cos(z)),
}


@dataclass(slots=True)
class Weight:
    """Get at what the data was multiplied with.

    Attributes:
        slot: which input of the product it is.
        on_the_right: whether it stands to the right of the data.
        parameter: the parameter behind it, if nothing but a transposition or a cast lies between.
        transposed: whether the parameter came transposed.
        kept_as: what the Node calls it among its saved tensors.
        scale: what the product is multiplied by, besides.
    """

    slot: int
    on_the_right: bool
    parameter: Tensor | None
    transposed: bool
    kept_as: str
    scale: float = 1.0

    @property
    def identity(self) -> int | None:
        """The parameter's ``id``, by which its norm is known; None if the weight is not just that parameter."""
        return None if self.parameter is None or self.scale != 1 else id(self.parameter)

    @property
    def units(self) -> int:
        """Return which dimension of the parameter counts units; a transposed convolution's is the other one."""
        return 0 if self.kept_as == "weight" else int(self.on_the_right != self.transposed)

    def matrix(self, node: Node) -> Tensor | None:
        """[n_out, n_in] (a convolution's as torch stores it); None if out of reach."""
        w = self.as_kept(node)
        if w is None or self.kept_as == "weight":
            return w
        return w.t() if w.dim() == 2 and self.on_the_right != self.transposed else w if w.dim() == 2 else None

    def as_kept(self, node: Node) -> Tensor | None:
        """Return the same numbers in whatever order they are kept."""
        w = self.parameter if self.parameter is not None else saved(node, self.kept_as)
        if w is None or w.layout is not torch.strided or w.is_complex():  # those multiply by the conjugate
            return None
        return w if self.scale == 1 else w * self.scale


def weight_of(vertex: Vertex) -> Weight | None:
    """The weight of a convolution or matrix product; None for products of other kinds."""
    names = FACTORS.get(vertex.op)
    if names is None:
        return None
    left, right = names
    slot = left if left in vertex.weight_slots or right in vertex.data_slots else right
    parameter, transposed = _leaf(vertex, slot)
    scale = float(getattr(vertex.node, "_saved_alpha", 1)) if vertex.op in ADDENDS else 1.0
    return Weight(slot, slot == right, parameter, transposed, names[slot], scale)


def inside(vertex: Vertex) -> float:
    """Return the part of a convolution's products that are made with its input and not with the padding around it."""
    node, source, weight = vertex.node, vertex.inputs[0][0], vertex.inputs[1][0]
    if source is None or weight is None or node._saved_transposed:
        return 1.0
    if not len(source.shape) == len(vertex.shape) == len(weight.shape) == len(node._saved_stride) + 2:
        return 1.0  # of several outputs the first one's shape is known
    sizes = zip(source.shape[2:], vertex.shape[2:], weight.shape[2:], strict=True)
    settings = zip(node._saved_stride, node._saved_padding, node._saved_dilation, strict=True)
    return math.prod(_inside_along(*size, *setting) for size, setting in zip(sizes, settings, strict=True))


@lru_cache(maxsize=1024)
def _inside_along(inputs: int, outputs: int, taps: int, stride: int, padding: int, dilation: int) -> float:
    """Return what `_inside` does along one dimension.

    Example:
        >>> _inside_along(inputs=8, outputs=4, taps=3, stride=2, padding=1, dilation=1)    # 1 of 12 is outside
        0.9166666666666666
    """
    first = np.arange(outputs)[:, None] * stride - padding
    places = first + np.arange(taps) * dilation
    return float(np.mean((places >= 0) & (places < inputs)))


def _leaf(vertex: Vertex, slot: int) -> tuple[Tensor | None, bool]:
    """The parameter behind an input, and whether it came transposed; None if more than that was done to it."""
    source, transposed = vertex.inputs[slot][0], False
    while source is not None:
        if source.leaf is not None:
            return source.leaf, transposed
        if source.op not in ("t", "to_copy") or not source.inputs:
            return None, False
        transposed ^= source.op == "t"
        source = source.inputs[0][0]
    return None, False
