"""Optimizers: they turn a gradient into a step.

An optimizer is a few numbers and two functions; what it remembers of a layer (a velocity) is another layer of numbers,
kept by whoever trains. L2 regularisation acts on the weights only, as in the book: a step of plain gradient descent is
w -> (1 - eta * lmbda / n) w - eta dC/dw, torch's ``weight_decay=lmbda / n`` on a group that holds the weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from undertow.lab.layers import LayerParameters
from undertow.renamed import old_names

NEVER_ABOVE = 0.999
"""Sutskever et al.'s largest mu_max."""


class LayerGradient(Protocol):
    """dC/dw and dC/db of one layer, averaged over a mini-batch."""

    def add_gradient_to(self, into: LayerParameters, step: float, keep: float = 1.0, keep_b: float = 1.0) -> None:
        """``into`` = keep * ``into`` + step * gradient; the biases have a ``keep_b`` of their own."""


class Optimizer(Protocol):
    """Do what `undertow.lab.Ensemble.train` asks of an optimizer."""

    def state(self, layer: LayerParameters) -> LayerParameters:
        """Return what has to be remembered of a layer between steps."""

    def update(
        self,
        layer: LayerParameters,
        state: LayerParameters,
        gradient: LayerGradient,
        *,
        eta: float,
        decay: float,
        t: int,
    ) -> None:
        """Take step t = 0, 1, ... of one layer with learning rate eta and decay = lmbda / n."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, the book's: nothing is remembered.

    Example:
        >>> w, b = torch.full((1, 1, 2), 2.0), torch.zeros(1, 1, 1)
        >>> layer, ones = LayerParameters(w, b), LayerParameters(torch.ones_like(w), torch.ones_like(b))
        >>> SGD().update(layer, SGD().state(layer), ExplicitGradient(ones), eta=0.5, decay=0.1, t=0)
        >>> layer.w.flatten().tolist(), layer.b.item()    # (1 - 0.05) * 2 - 0.5; biases don't decay
        ([1.399999976158142, 1.399999976158142], -0.5)
    """

    def state(self, layer: LayerParameters) -> LayerParameters:
        """Return the layer itself: there is nothing to remember."""
        return layer

    def update(
        self,
        layer: LayerParameters,
        state: LayerParameters,
        gradient: LayerGradient,
        *,
        eta: float,
        decay: float,
        t: int,
    ) -> None:
        """w -> (1 - eta * decay) w - eta dC/dw;  b -> b - eta dC/db."""
        del state, t
        gradient.add_gradient_to(layer, step=-eta, keep=1 - eta * decay)


@dataclass(frozen=True)
class MomentumSchedule:
    """A momentum coefficient that rises (Sutskever et al. 2013, eq. 5) and, if wanted, is lowered at the end.

    mu_t = min(1 - 2^(-1 - log2(floor(t / period) + 1)), most), and from step ``until`` on never above ``lowered``.

    Attributes:
        most: mu_max.
        period: steps until it rises for the first time; the paper's is 250, of 750,000 steps in all.
        until: the first step at which it is lowered; by default none is.
        lowered: what it is lowered to.

    Raises:
        ValueError: a coefficient outside [0, 1), or a period that isn't positive.

    Example:
        >>> mu = MomentumSchedule(0.99, until=2_000)
        >>> [mu(t) for t in (0, 250, 1000, 1999, 2000)]
        [0.5, 0.75, 0.9, 0.9375, 0.9]
    """

    most: float = NEVER_ABOVE
    period: float = 250
    until: float = math.inf
    lowered: float = 0.9

    def __post_init__(self) -> None:
        _check_mu(self.most)
        _check_mu(self.lowered)
        if not self.period > 0:
            raise ValueError(f"period = {self.period}: the steps until mu rises are a positive number")

    def __call__(self, t: int) -> float:
        """Return the momentum coefficient of step t = 0, 1, ..."""
        # 2^(-1 - log2(k)) is 1/(2k), without the rounding
        risen = min(1 - 1 / (2 * (t // self.period + 1)), self.most)
        return risen if t < self.until else min(risen, self.lowered)


@dataclass(frozen=True)
class _WithVelocity:
    """The state and the momentum coefficient that both momentum methods have."""

    mu: float | MomentumSchedule

    def __post_init__(self) -> None:
        _check_mu(self.mu)

    def state(self, layer: LayerParameters) -> LayerParameters:
        """Return the velocity, at rest."""
        return layer.zeros()


@dataclass(frozen=True)
class Momentum(_WithVelocity):
    """Classical momentum (Polyak 1964): v -> mu v - eta dC/dw;  w -> w + v.

    Attributes:
        mu: the momentum coefficient, or a schedule of it: ``mu(t)`` for step t = 0, 1, ...

    Example:
        >>> Momentum(mu=0.5).momentum(10), Momentum(MomentumSchedule(0.99)).momentum(250)
        (0.5, 0.75)
    """

    mu: float | MomentumSchedule = 0.9

    def momentum(self, t: int) -> float:
        """Return the momentum coefficient of step t = 0, 1, ..."""
        return self.mu(t) if isinstance(self.mu, MomentumSchedule) else self.mu

    def update(
        self,
        layer: LayerParameters,
        state: LayerParameters,
        gradient: LayerGradient,
        *,
        eta: float,
        decay: float,
        t: int,
    ) -> None:
        """One step; the decay is part of the gradient, as in torch."""
        mu = self.momentum(t)
        gradient.add_gradient_to(state, step=-eta, keep=mu, keep_b=mu)
        state.w.add_(layer.w, alpha=-eta * decay)
        _add(layer, state, 1.0)


@dataclass(frozen=True)
class Nesterov(_WithVelocity):
    """Nesterov's accelerated gradient, as a momentum method (Sutskever et al. 2013, eq. 3 and 4).

    The weights kept are the point looked ahead to, θ + mu v, where the gradient is taken: then one step needs one
    gradient and, with constant mu, is ``torch.optim.SGD(nesterov=True)``.

    Attributes:
        mu: the largest momentum coefficient, or a schedule of one's own.
        schedule: whether a number ``mu`` is risen to, as `MomentumSchedule` says, or kept from the start.

    Example:
        >>> [Nesterov(mu=0.99).momentum(t) for t in (0, 250, 1000, 1_000_000)]
        [0.5, 0.75, 0.9, 0.99]
    """

    mu: float | MomentumSchedule = NEVER_ABOVE
    schedule: bool = True

    def momentum(self, t: int) -> float:
        """Return the momentum coefficient of step t = 0, 1, ..."""
        if isinstance(self.mu, MomentumSchedule):
            return self.mu(t)
        return MomentumSchedule(self.mu)(t) if self.schedule else self.mu

    def update(
        self,
        layer: LayerParameters,
        state: LayerParameters,
        gradient: LayerGradient,
        *,
        eta: float,
        decay: float,
        t: int,
    ) -> None:
        """One step, from θ + mu_t v to θ' + mu_{t+1} v'."""
        mu, mu_next = self.momentum(t), self.momentum(t + 1)
        _add(layer, state, -mu)  # back to θ; the decay of the point looked ahead to is then split over θ and v
        gradient.add_gradient_to(state, step=-eta, keep=mu * (1 - eta * decay), keep_b=mu)
        state.w.add_(layer.w, alpha=-eta * decay)
        _add(layer, state, 1 + mu_next)


@dataclass(frozen=True)
class ExplicitGradient:
    """A gradient that has been worked out, as clipping must, instead of being folded into the update.

    Example:
        >>> ones = LayerParameters(torch.ones(1, 2, 3), torch.ones(1, 1, 2))
        >>> velocity = ones.zeros()
        >>> ExplicitGradient(ones).add_gradient_to(velocity, step=-2.0)
        >>> velocity.w.sum().item()
        -12.0
    """

    nabla: LayerParameters

    def add_gradient_to(self, into: LayerParameters, step: float, keep: float = 1.0, keep_b: float = 1.0) -> None:
        """``into`` = keep * ``into`` + step * gradient."""
        into.w.mul_(keep).add_(self.nabla.w, alpha=step)
        into.b.mul_(keep_b).add_(self.nabla.b, alpha=step)


def clipped(
    gradients: Sequence[LayerGradient], layers: Sequence[LayerParameters], largest: float
) -> list[ExplicitGradient]:
    """Scale every member's gradient down to norm ``largest``, over all layers together (Pascanu et al. 2013).

    Example:
        >>> ones = LayerParameters(torch.ones(1, 1, 3), torch.ones(1, 1, 1))
        >>> clipped([ExplicitGradient(ones)], [ones], largest=1.0)[0].nabla.w.flatten().tolist()    # norm 2 -> 1
        [0.5, 0.5, 0.5]
    """
    nablas = [layer.zeros() for layer in layers]
    for gradient, nabla in zip(gradients, nablas, strict=True):
        gradient.add_gradient_to(nabla, step=1.0)
    squares = [t.double().square().sum((1, 2)) for nabla in nablas for t in (nabla.w, nabla.b)]
    norm = torch.stack(squares).sum(0).sqrt()  # in double: float32 squares overflow where clipping matters most
    factor = (largest / norm).clamp(max=1.0)[:, None, None].to(nablas[0].w.dtype)
    for nabla in nablas:
        nabla.w.mul_(factor)
        nabla.b.mul_(factor)
    return [ExplicitGradient(nabla) for nabla in nablas]


def optimizer(choice: str | Optimizer) -> Optimizer:
    """Turn a name (``sgd``, ``momentum``, ``nesterov``) into its optimizer with the usual numbers.

    Raises:
        ValueError: no such optimizer; the message lists those there are.

    Example:
        >>> optimizer("momentum")
        Momentum(mu=0.9)
    """
    if not isinstance(choice, str):
        return choice
    try:
        return OPTIMIZERS[choice]()
    except KeyError:
        raise ValueError(f"no optimizer named {choice!r}; there are: {', '.join(OPTIMIZERS)}") from None


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "momentum": Momentum, "nesterov": Nesterov}


def _add(layer: LayerParameters, other: LayerParameters, alpha: float) -> None:
    layer.w.add_(other.w, alpha=alpha)
    layer.b.add_(other.b, alpha=alpha)


def _check_mu(mu: float | MomentumSchedule) -> None:
    if not isinstance(mu, MomentumSchedule) and not 0 <= mu < 1:
        raise ValueError(f"mu = {mu}: a momentum coefficient lies in [0, 1); at 1 nothing would ever slow down")


__getattr__ = old_names(__name__, {"Rising": "MomentumSchedule", "Gradient": "LayerGradient"})
