"""The costs: what a network is asked to make small, and BP1, where its gradient sets out on the way back.

A cost sees the output layer of every member at once: z and a are [R, m, n], the targets y [m, n] are shared.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from undertow.lab.kernels import Kernel


@dataclass(frozen=True)
class OutputCost:
    """A cost C, with BP1.

    Attributes:
        name: as the book calls it.
        output: the activation of the output layer it is made for; None where any will do.
        value: ``value(z, a, y)`` is C for every example, [..., m], exact also where the output saturates.
        delta: ``delta(z, a, y, kernel, out)`` writes dC/dz of every example into ``out``: BP1.
    """

    name: str
    output: str | None
    value: Callable[[Tensor, Tensor, Tensor], Tensor]
    delta: Callable[[Tensor, Tensor, Tensor, Kernel, Tensor], None]


def cost(name: str) -> OutputCost:
    """Look a cost up by name.

    Raises:
        ValueError: no such cost; the message lists those there are.

    Example:
        >>> a, y = torch.tensor([[0.9, 0.2]]), torch.tensor([[1.0, 0.0]])
        >>> round(cost("quadratic").value(a, a, y).item(), 4)    # (0.1^2 + 0.2^2) / 2
        0.025
    """
    try:
        return COSTS[name]
    except KeyError:
        raise ValueError(f"no cost named {name!r}; there are: {', '.join(COSTS)}") from None


def _cross_entropy(z: Tensor, _a: Tensor, y: Tensor) -> Tensor:
    # -[y ln a + (1 - y) ln(1 - a)] with a = σ(z), so that no logarithm meets a rounded 0 or 1
    return functional.binary_cross_entropy_with_logits(z, y.expand_as(z), reduction="none").sum(-1)


def _quadratic(_z: Tensor, a: Tensor, y: Tensor) -> Tensor:
    return (a - y).square().sum(-1) / 2


def _log_likelihood(z: Tensor, _a: Tensor, y: Tensor) -> Tensor:
    return -(y * functional.log_softmax(z, -1)).sum(-1)


def _error(_z: Tensor, a: Tensor, y: Tensor, _kernel: Kernel, out: Tensor) -> None:
    torch.sub(a, y, out=out)  # δ^L = a^L - y: the output's φ' has cancelled


def _error_times_derivative(z: Tensor, a: Tensor, y: Tensor, kernel: Kernel, out: Tensor) -> None:
    torch.sub(a, y, out=out)
    kernel.chain(out, z, a, out)  # δ^L = (a^L - y) ⊙ φ'(z^L)


COSTS: dict[str, OutputCost] = {
    each.name: each
    for each in (
        OutputCost("cross-entropy", "sigmoid", _cross_entropy, _error),
        OutputCost("quadratic", None, _quadratic, _error_times_derivative),
        OutputCost("log-likelihood", "softmax", _log_likelihood, _error),
    )
}

SOFTMAX = Kernel(
    value=lambda z, out: torch.softmax(z, -1, out=out),
    derivative=lambda _z, a: a * (1 - a),  # of each output to its own z; BP1 of the log-likelihood doesn't need it
)
"""The output layer that goes with the log-likelihood: an activation of a whole layer, not of a neuron."""
