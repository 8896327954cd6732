"""A member of an ensemble as an nn.Module, for everything that torch and undertow do with those."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import activations


class Network(nn.Module):
    """A feed-forward network whose forward pass and loss are those of the ensemble it came from.

    ``layers[0]`` is the book's layer 1: its weight is w^1.

    Args:
        parameters: weight [n_out, n_in] and bias [n_out] of every layer; they are copied.
        activations: name of every layer's activation.
        cost: name of the cost.

    Example:
        >>> net = Network([(torch.ones(1, 2), torch.zeros(1))], ["sigmoid"], "cross-entropy")
        >>> round(net.loss(torch.zeros(3, 2), torch.ones(3, 1)).item(), 4)    # ln 2
        0.6931
    """

    def __init__(self, parameters: Sequence[tuple[Tensor, Tensor]], activations: Sequence[str], cost: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_linear(w, b) for w, b in parameters)
        self.activations = nn.ModuleList(_module(name) for name in activations)
        self.cost = cost

    def forward(self, x: Tensor) -> Tensor:
        """a^L for a batch of inputs [m, n_in]."""
        return self.activations[-1](self.logits(x))

    def logits(self, x: Tensor) -> Tensor:
        """z^L, what the output layer's activation is given, [m, n_out]."""
        a = x
        for layer, activation in zip(self.layers[:-1], self.activations[:-1], strict=True):
            a = activation(layer(a))
        return self.layers[-1](a)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost, summed over outputs and averaged over examples; y are labels [m] or targets [m, n_out]."""
        z = self.logits(x)
        if y.ndim == 1:
            y = functional.one_hot(y, z.shape[-1])
        y = y.to(z.dtype)
        if self.cost == "cross-entropy":
            return functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(x)
        if self.cost == "log-likelihood":
            return functional.cross_entropy(z, y)
        return (self.activations[-1](z) - y).square().sum() / (2 * len(x))


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, z: Tensor) -> Tensor:
        return self.function(z)


def _linear(w: Tensor, b: Tensor) -> nn.Linear:
    n_out, n_in = w.shape
    linear = nn.Linear(n_in, n_out, dtype=w.dtype, device=w.device)
    with torch.no_grad():
        linear.weight.copy_(w)
        linear.bias.copy_(b)
    return linear


def _module(name: str) -> nn.Module:
    """Return an activation as a module: torch's own, or a function of torch's."""
    if name == "softmax":
        return nn.Softmax(-1)
    known = activations.activation(name).torch
    if known is None:
        raise ValueError(f"torch has no {name}: give its entry in undertow.activations a torch name")
    if hasattr(nn, known.name):
        return getattr(nn, known.name)(**known.settings)
    return _Function(getattr(torch, known.name))
