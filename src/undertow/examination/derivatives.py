"""Find derivatives of derivatives that are zero everywhere, as the network is made of straight pieces."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from undertow.tape.graph import reached
from undertow.tape.ops import op_name
from undertow.tape.tensors import tensors_in

STRAIGHT = frozenset({"threshold_backward", "leaky_relu_backward", "hardtanh_backward"})
"""What autograd calls the slopes of activations whose second derivative is zero."""

CURVED = frozenset(
    f"{name}_backward" for name in ("tanh", "sigmoid", "gelu", "silu", "elu", "softplus", "mish", "softmax")
) | {"sin", "cos", "exp", "pow"}

MOST = 8
"""Calls that are kept: an equation has few derivatives."""


class Derivatives:
    """Keeps what `torch.autograd.grad` returned in a forward pass, and looks at it when asked.

    Example:
        >>> import torch
        >>> x, kept = torch.linspace(-1, 1, 4, requires_grad=True), Derivatives()
        >>> (slope,) = torch.autograd.grad(torch.relu(x).sum(), x, create_graph=True)
        >>> curve = torch.autograd.grad((slope * x).sum(), x, create_graph=True)
        >>> kept.look(((slope * x).sum(), x), {}, curve, 1), kept.straight()
        (None, None)
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Any, list[Tensor], int]] = []

    def look(self, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, number: int) -> None:
        """Take one call: of what, and what came out; ``number`` is autograd's when it began."""
        of = [t for t in tensors_in(args[:1] or kwargs.get("outputs")) if t.grad_fn is not None]
        made = [t for t in tensors_in(out) if t.requires_grad and t.numel() > 1]
        if of and made and len(self._calls) < MOST:
            self._calls.append((of[0].grad_fn, made, number))

    def straight(self) -> int | None:
        """Return the number of the first call whose derivative of a slope is exactly zero everywhere; else None."""
        for node, made, number in self._calls:
            if any(bool(each.detach().any()) for each in made):
                continue
            ops = {op_name(each.name()) for each in reached(node)}
            if ops & STRAIGHT and not ops & CURVED:
                return number
        return None
