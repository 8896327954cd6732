"""The activations of `undertow.activations` as torch kernels, each with its derivative written out.

A derivative is given both z and a = φ(z) and uses whichever makes it cheaper: the sigmoid's, a(1 - a), needs no
exponential. The three activations that big experiments run on also write g ⊙ φ'(z), the elementwise half of BP2,
without a temporary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from undertow.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE, Activation, Libraries, activation

TORCH = Libraries(torch, torch.special)


@dataclass(frozen=True)
class Kernel:
    """An activation in torch.

    Attributes:
        value: ``value(z, out)`` writes φ(z) into ``out``.
        derivative: ``derivative(z, a)`` is φ'(z), where a = φ(z).
        in_place: ``in_place(g, z, a, out)`` writes g ⊙ φ'(z), where that can be had without a temporary.
    """

    value: Callable[[Tensor, Tensor], object]
    derivative: Callable[[Tensor, Tensor], Tensor]
    in_place: Callable[[Tensor, Tensor, Tensor, Tensor], object] | None = None

    def chain(self, g: Tensor, z: Tensor, a: Tensor, out: Tensor) -> None:
        """Write g ⊙ φ'(z) into ``out``, which may be ``g`` itself.

        Example:
            >>> z, g = torch.tensor([0.0, 2.0]), torch.ones(2)
            >>> kernel("sigmoid").chain(g, z, torch.sigmoid(z), out=g)
            >>> g[0].item()
            0.25
        """
        if self.in_place is None:
            torch.mul(g, self.derivative(z, a), out=out)
        else:
            self.in_place(g, z, a, out)


def kernel(name: str) -> Kernel:
    """Return the torch kernels of an activation.

    Raises:
        ValueError: no such activation; the message lists those there are.

    Example:
        >>> kernel("relu").derivative(torch.tensor([-1.0, 2.0]), torch.tensor([0.0, 2.0])).tolist()
        [0.0, 1.0]
    """
    known = activation(name)
    return KERNELS[name] if name in KERNELS else _from_formulas(known)


def _from_formulas(phi: Activation) -> Kernel:
    """Return the kernels of an activation that has none of its own here: slower, and as right."""
    if phi.formulas is None:
        raise ValueError(f"{phi.name} has no formulas for torch: make it with undertow.activations.written")
    value, slope = phi.formulas
    return Kernel(lambda z, out: out.copy_(value(z, TORCH)), lambda z, _a: slope(z, TORCH))


def _sigmoid_in_place(g: Tensor, _z: Tensor, a: Tensor, out: Tensor) -> None:
    torch.mul(g, a, out=out)
    torch.addcmul(out, out, a, value=-1, out=out)  # ga - (ga)a


def _tanh_in_place(g: Tensor, _z: Tensor, a: Tensor, out: Tensor) -> None:
    torch.addcmul(g, g * a, a, value=-1, out=out)  # g - (ga)a


def _relu_in_place(g: Tensor, z: Tensor, _a: Tensor, out: Tensor) -> None:
    torch.mul(g, z > 0, out=out)


def _leaky_relu(z: Tensor, out: Tensor) -> None:
    torch.where(z > 0, z, LEAKY_SLOPE * z, out=out)


def _softsign(z: Tensor, out: Tensor) -> None:
    torch.div(z, 1 + z.abs(), out=out)


def _normal_cdf(z: Tensor) -> Tensor:
    return torch.special.ndtr(z)


def _gelu_derivative(z: Tensor, _a: Tensor) -> Tensor:
    return _normal_cdf(z) + z * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def _silu_derivative(z: Tensor, a: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s + a * (1 - s)


def _elu(alpha: float, scale: float) -> Kernel:
    def value(z: Tensor, out: Tensor) -> None:
        torch.where(z > 0, scale * z, scale * alpha * torch.expm1(z.clamp_max(0)), out=out)

    def derivative(z: Tensor, a: Tensor) -> Tensor:
        return torch.where(z > 0, scale, a + scale * alpha)

    return Kernel(value, derivative)


def _constant(number: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda z, _a: torch.full_like(z, number)


KERNELS: dict[str, Kernel] = {
    "sigmoid": Kernel(lambda z, out: torch.sigmoid(z, out=out), lambda _z, a: a * (1 - a), _sigmoid_in_place),
    "tanh": Kernel(lambda z, out: torch.tanh(z, out=out), lambda _z, a: 1 - a * a, _tanh_in_place),
    "relu": Kernel(lambda z, out: torch.clamp_min(z, 0, out=out), lambda z, _a: (z > 0).to(z.dtype), _relu_in_place),
    "leaky_relu": Kernel(_leaky_relu, lambda z, _a: torch.where(z > 0, torch.ones_like(z), LEAKY_SLOPE)),
    "softsign": Kernel(_softsign, lambda _z, a: (1 - a.abs()).square()),
    "gelu": Kernel(lambda z, out: torch.mul(z, _normal_cdf(z), out=out), _gelu_derivative),
    "silu": Kernel(lambda z, out: torch.mul(z, torch.sigmoid(z), out=out), _silu_derivative),
    "elu": _elu(alpha=1.0, scale=1.0),
    "selu": _elu(alpha=SELU_ALPHA, scale=SELU_SCALE),
    "softplus": Kernel(lambda z, out: torch.logaddexp(z, torch.zeros_like(z), out=out), lambda z, _a: torch.sigmoid(z)),
    "erf": Kernel(
        lambda z, out: torch.erf(z, out=out), lambda z, _a: torch.exp(-z.square()) * (2 / math.sqrt(math.pi))
    ),
    "linear": Kernel(lambda z, out: out.copy_(z), _constant(1.0)),
}
