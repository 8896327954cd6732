"""Networks of one shape side by side, with norms and residual connections, by automatic differentiation.

The lab's written-out backpropagation covers plain networks; what stands between their layers here it doesn't. So all
networks of this study, the plain ones too, run by one engine, which on plain networks is held to the lab by tests.
Members don't touch each other: every product, mean and variance is taken member by member.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from undertow.lab import Initializer

EPSILON = 1e-5
PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": functional.gelu,
}


@dataclass
class StackWeights:
    """Hold what R networks of depth L hidden layers learn.

    Attributes:
        first: [R, width, n_in]; hidden: [L - 1, R, width, width]; bias: [L, R, 1, width], added after a norm;
        last: [R, n_out, width]; last_bias: [R, 1, n_out].
    """

    first: Tensor
    hidden: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor

    def all(self) -> list[Tensor]:
        """Return every tensor."""
        return [self.first, self.hidden, self.bias, self.last, self.last_bias]


def drawn(recipes: Sequence[Initializer], n_in: int, width: int, depth: int, n_out: int, seed: int) -> StackWeights:
    """Draw the weights of a network for each recipe, all from the same stream of random numbers.

    The output layer starts at N(0, 1/n) and 0 in all, so that networks differ in what lies before it.

    Example:
        >>> weights = drawn([Initializer("he")] * 3, n_in=8, width=4, depth=5, n_out=2, seed=0)
        >>> weights.hidden.shape, weights.bias.shape
        (torch.Size([4, 3, 4, 4]), torch.Size([5, 3, 1, 4]))
    """
    members = [_member(recipe, n_in, width, depth, n_out, np.random.default_rng(seed)) for recipe in recipes]
    stacked = [np.stack([member[k] for member in members], axis) for k, axis in enumerate((0, 1, 1, 0))]
    first, hidden, bias, last = (torch.from_numpy(each).float() for each in stacked)
    return StackWeights(first, hidden, bias[:, :, None, :], last, torch.zeros(len(members), 1, n_out))


def _member(
    recipe: Initializer, n_in: int, width: int, depth: int, n_out: int, generator: Generator
) -> list[np.ndarray]:
    layers = [recipe.draw(generator, width, n) for n in [n_in] + [width] * (depth - 1)]
    hidden = np.array([w for w, _ in layers[1:]]).reshape(depth - 1, width, width)
    last = generator.normal(0, width**-0.5, (n_out, width))
    return [layers[0][0], hidden, np.array([b for _, b in layers]), last]


@dataclass(frozen=True)
class Stack:
    """R networks with what stands between their layers.

    A layer is a = φ(W h + b); with a norm, a = φ(norm(W h) + b). A residual layer gives h + a, and with a norm
    h + φ(W norm(h) + b), its last h normalised once more before the output. The first layer is never residual.
    BatchNorm takes mean and variance over the images at hand, in training and in judging; the norms have no gain of
    their own, and b is their offset.

    Attributes:
        weights: of all members.
        activation: a name from `PHI`.
        architecture: a name from `config.ARCHITECTURES`.

    Example:
        >>> weights = drawn([Initializer("he")] * 3, n_in=8, width=4, depth=5, n_out=2, seed=0)
        >>> Stack(weights, "relu", "residual + norm").logits(torch.rand(6, 8)).shape
        torch.Size([3, 6, 2])
    """

    weights: StackWeights
    activation: str
    architecture: str

    def logits(self, x: Tensor) -> Tensor:
        """z of the output layer, [R, m, n_out], for images x [m, n_in] that every member sees."""
        w, phi = self.weights, PHI[self.activation]
        members, width, n_in = w.first.shape
        z = (x @ w.first.reshape(-1, n_in).T).view(len(x), members, width).transpose(0, 1)
        h = phi(self._normed(z) + w.bias[0])
        residual, before = self.architecture.startswith("residual"), self.architecture == "residual + norm"
        for weight, bias in zip(w.hidden.unbind(), w.bias[1:].unbind(), strict=True):
            z = torch.bmm(layer_norm(h) if before else h, weight.mT)
            a = phi(self._normed(z) + bias)
            h = h + a if residual else a
        return torch.baddbmm(w.last_bias, layer_norm(h) if before else h, w.last.mT)

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Log-likelihood cost of every member, [R]; y are class labels [m]."""
        z = self.logits(x)
        flat = functional.cross_entropy(z.flatten(0, 1), y.repeat(len(z)), reduction="none")
        return flat.view(len(z), -1).mean(1)

    def accuracy(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the share of images right, [R]; outputs that aren't finite are never right."""
        with torch.no_grad():
            z = self.logits(x)
        return ((z.argmax(-1) == y) & z.isfinite().all(-1)).double().mean(1)

    def learning_speed(self, x: Tensor, y: Tensor) -> Tensor:
        """||dC/db^l|| of every hidden layer, [R, L]: the book's measure, C averaged over the images."""
        bias = self.weights.bias.requires_grad_()
        [gradient] = torch.autograd.grad(self.losses(x, y).sum(), [bias])
        bias.requires_grad_(False)
        return gradient[:, :, 0].double().norm(dim=-1).T

    def _normed(self, z: Tensor) -> Tensor:
        if self.architecture == "BatchNorm":
            return _standardised(z, 1)
        return layer_norm(z) if self.architecture == "LayerNorm" else z


def layer_norm(z: Tensor) -> Tensor:
    """Bring each image's units to mean 0 and variance 1."""
    return functional.layer_norm(z, z.shape[-1:], eps=EPSILON)


def _standardised(z: Tensor, dim: int) -> Tensor:
    variance, mean = torch.var_mean(z, dim, correction=0, keepdim=True)
    return (z - mean) * torch.rsqrt(variance + EPSILON)


class MemberDescent:
    """An optimizer with a learning rate for each member.

    Example:
        >>> weights = drawn([Initializer("he")] * 2, n_in=8, width=4, depth=3, n_out=2, seed=0)
        >>> stack, x, y = Stack(weights, "relu", "plain"), torch.rand(6, 8), torch.arange(6) % 2
        >>> descent = MemberDescent(stack, "Adam", torch.tensor([0.1, 0.0]))
        >>> before = weights.first.clone()
        >>> descent.step(x, y)
        >>> [bool((a == b).all()) for a, b in zip(weights.first, before)]    # the second stands still
        [False, True]
    """

    MU, BETAS, TINY = 0.9, (0.9, 0.999), 1e-8

    def __init__(self, stack: Stack, optimizer: str, rates: Tensor) -> None:
        self.stack, self.optimizer, self.t = stack, optimizer, 0
        self.tensors = stack.weights.all()
        self.rates = [rates.view(*((1,) * (p.ndim - 3)), -1, 1, 1) for p in self.tensors]
        remembered = {"SGD": 0, "momentum": 1, "Adam": 2}[optimizer]
        self.memory = [[torch.zeros_like(p) for p in self.tensors] for _ in range(remembered)]

    def step(self, x: Tensor, y: Tensor) -> None:
        """One update of every member from the images x [m, n_in] and their classes y [m]."""
        for p in self.tensors:
            p.requires_grad_()
        gradients = torch.autograd.grad(self.stack.losses(x, y).sum(), self.tensors, materialize_grads=True)
        self.t += 1
        for k, (p, gradient, rate) in enumerate(zip(self.tensors, gradients, self.rates, strict=True)):
            p.requires_grad_(False)
            p.sub_(rate * self._direction(k, gradient))

    def _direction(self, k: int, gradient: Tensor) -> Tensor:
        if self.optimizer == "SGD":
            return gradient
        if self.optimizer == "momentum":
            return self.memory[0][k].mul_(self.MU).add_(gradient)
        first, second = (memory[k] for memory in self.memory)
        first.lerp_(gradient, 1 - self.BETAS[0])
        second.mul_(self.BETAS[1]).addcmul_(gradient, gradient, value=1 - self.BETAS[1])
        unbiased = [1 - beta**self.t for beta in self.BETAS]
        return (first / unbiased[0]) / ((second / unbiased[1]).sqrt() + self.TINY)
