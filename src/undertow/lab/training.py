"""Training an ensemble, and finding out where a member diverged.

A member that reaches a number that is not finite doesn't stop the others. Healthy training pays one look at the
weights an epoch; when that look finds a member lost, the epoch is replayed, bit for bit, from a copy of how it began,
until the first mini-batch, layer and equation with a number that is not finite is known.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from undertow.lab.layers import LayerParameters, LayerPass
from undertow.lab.networks import Networks
from undertow.lab.optimizers import LayerGradient, Optimizer, clipped
from undertow.lab.optimizers import optimizer as optimizer_named
from undertow.renamed import old_names

Observer = Callable[[int, list[LayerPass]], object]
Data = tuple[ArrayLike | Tensor, ArrayLike | Tensor]

FETCHED_AT_ONCE = 400
"""Examples looked up among the data in one go: lookups then overlap, and what they bring stays in cache until used."""


@dataclass(frozen=True)
class Divergence:
    """The first number that was not finite in a member.

    Attributes:
        member: which one, counted in its ensemble.
        epoch, mini_batch: when, both from 0.
        layer: where, as the book counts: 1 is the first hidden layer.
        equation: in which step: "forward" (z or a), "BP1", "BP2" (δ), "BP3" (biases) or "BP4" (weights).

    Example:
        >>> print(Divergence(member=3, epoch=0, mini_batch=4, layer=2, equation="BP2"))
        member 3: not finite from epoch 0, mini-batch 4, layer 2, BP2
    """

    member: int
    epoch: int
    mini_batch: int
    layer: int
    equation: str

    def __str__(self) -> str:
        return (
            f"member {self.member}: not finite from epoch {self.epoch}, mini-batch {self.mini_batch}, "
            f"layer {self.layer}, {self.equation}"
        )


@dataclass
class TrainingHistory:
    """Tell what happened while an ensemble was trained.

    Attributes:
        accuracy: for every data set evaluated, the share right after each epoch, [members, epochs];
            NaN from the epoch in which a member diverged.
        divergences: one for every member lost, in the order of their epochs.

    Example:
        >>> TrainingHistory().diverged
        []
    """

    accuracy: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    divergences: list[Divergence] = field(default_factory=list)

    @property
    def diverged(self) -> list[int]:
        """The members that were lost."""
        return [d.member for d in self.divergences]


def train(
    nets: Networks,
    data: Data,
    epochs: int,
    batch_size: int,
    eta: float,
    lmbda: float,
    *,
    optimizer: str | Optimizer,
    clip: float | None,
    frozen: Sequence[int],
    evaluate: Mapping[str, Data],
    observe: Observer | None,
    on_epoch: Callable[[int], object] | None,
) -> TrainingHistory:
    """`Ensemble.train`, where the arguments are described."""
    x, y = nets.examples(*data)
    _check(len(x), epochs, batch_size, eta, lmbda, clip)
    _check_frozen(frozen, len(nets.layers))
    evaluated = {name: nets.labelled(*examples) for name, examples in evaluate.items()}
    descent = MiniBatchDescent(nets, x, y, batch_size, eta, lmbda / len(x), optimizer_named(optimizer), clip, frozen)
    watch = _Watch(nets, descent)
    history = TrainingHistory({name: np.full((nets.members, epochs), np.nan) for name in evaluated})
    for epoch in range(epochs):
        watch.before_epoch()
        descent.epoch(observe)
        history.divergences += watch.after_epoch(epoch)
        for name, (inputs, labels) in evaluated.items():
            history.accuracy[name][:, epoch] = nets.accuracy(inputs, labels).cpu().numpy()
            history.accuracy[name][watch.lost.cpu().numpy(), epoch] = np.nan
        if on_epoch:
            on_epoch(epoch + 1)
    return history


class MiniBatchDescent:
    """Gradient descent on an ensemble: one epoch of mini-batches after the other."""

    def __init__(
        self, nets: Networks, x: Tensor, y: Tensor, batch_size: int, eta: float, decay: float,
        optimizer: Optimizer, clip: float | None, frozen: Sequence[int],
    ) -> None:  # fmt: skip
        self.nets, self.x, self.y, self.batch_size = nets, x, y, min(batch_size, len(x))
        self.eta, self.decay, self.optimizer, self.clip = eta, decay, optimizer, clip
        self.trained = [l for l in range(len(nets.layers)) if l not in frozen]
        self.layers = [nets.layers[l] for l in self.trained]
        self.states = [optimizer.state(layer) for layer in self.layers]
        fetched = self.batch_size * max(1, FETCHED_AT_ONCE // self.batch_size)
        self.room = torch.empty_like(x[:fetched]), torch.empty_like(y[:fetched])
        self.t = 0

    def epoch(self, observe: Observer | None = None) -> None:
        """One pass over the data, in the order that the ensemble's seed gives its next epoch."""
        with torch.inference_mode():  # autograd has nothing to do here; this spares every call the question
            for x, y in self.mini_batches():
                signals = self.nets.backpropagate(x, y)
                if observe:
                    with torch.inference_mode(False):
                        observe(self.t, signals)
                self.update(signals)
        self.nets.epochs_trained += 1

    def mini_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches of the next epoch, in room used again; a full batch needs no shuffling and gets none."""
        if self.batch_size == len(self.x):
            yield self.x, self.y
            return
        key = np.random.SeedSequence(self.nets.seed, spawn_key=(_ORDER, self.nets.epochs_trained))
        order = torch.from_numpy(np.random.default_rng(key).permutation(len(self.x))).to(self.x.device)
        room_x, room_y = self.room
        for chosen in order.split(len(room_x)):
            x = torch.index_select(self.x, 0, chosen, out=room_x[: len(chosen)])
            y = torch.index_select(self.y, 0, chosen, out=room_y[: len(chosen)])
            yield from zip(x.split(self.batch_size), y.split(self.batch_size), strict=True)

    def update(self, signals: list[LayerPass]) -> None:
        """One step down the gradient of this mini-batch, in every layer that is not frozen."""
        gradients: Sequence[LayerGradient] = [signals[l] for l in self.trained]
        if self.clip is not None and gradients:
            gradients = clipped(gradients, self.layers, self.clip)
        for layer, state, gradient in zip(self.layers, self.states, gradients, strict=True):
            self.optimizer.update(layer, state, gradient, eta=self.eta, decay=self.decay, t=self.t)
        self.t += 1

    def everything(self) -> list[LayerParameters]:
        """Return all that an epoch changes: the layers, and what the optimizer remembers of them."""
        return [*self.layers, *self.states]


_ORDER = 1_000_003  # a spawn key of its own: no order of mini-batches shares its numbers with a member's weights


class _Watch:
    """Finds the members that an epoch has lost, and where."""

    def __init__(self, nets: Networks, descent: MiniBatchDescent) -> None:
        self.nets, self.descent = nets, descent
        self.room = [layer.copy() for layer in descent.everything()]
        self.lost = self._not_finite()

    def before_epoch(self) -> None:
        for kept, layer in zip(self.room, self.descent.everything(), strict=True):
            kept.copy_(layer)
        self.t = self.descent.t

    def after_epoch(self, epoch: int) -> list[Divergence]:
        # Once an epoch, as asking at every step would wait for the device; the epoch is replayed if need be.
        newly_lost = self._not_finite() & ~self.lost
        if not newly_lost.any():
            return []
        self.lost |= newly_lost
        return self._replay(epoch, newly_lost.nonzero().flatten().tolist())

    def _not_finite(self) -> Tensor:
        finite = [t.isfinite().flatten(1).all(1) for layer in self.nets.layers for t in (layer.w, layer.b)]
        return ~torch.stack(finite).all(0)

    def _replay(self, epoch: int, wanted: list[int]) -> list[Divergence]:
        ended, t = [layer.copy() for layer in self.descent.everything()], self.descent.t
        for kept, layer in zip(self.room, self.descent.everything(), strict=True):
            layer.copy_(kept)
        self.descent.t, self.nets.epochs_trained = self.t, self.nets.epochs_trained - 1
        found = self._search(epoch, wanted)
        for kept, layer in zip(ended, self.descent.everything(), strict=True):
            layer.copy_(kept)
        self.descent.t, self.nets.epochs_trained = t, self.nets.epochs_trained + 1
        return found

    def _search(self, epoch: int, wanted: list[int]) -> list[Divergence]:
        found: list[Divergence] = []
        for batch, (x, y) in enumerate(self.descent.mini_batches()):
            signals = self.nets.backpropagate(x, y)
            self.descent.update(signals)
            for member in _touched(signals, self.nets.layers, wanted):
                where = first_not_finite(signals, self.nets.layers, member)
                found.append(Divergence(member, epoch, batch, *where))
                wanted.remove(member)
            if not wanted:
                break
        return found


def _touched(signals: list[LayerPass], layers: list[LayerParameters], members: list[int]) -> list[int]:
    """Those of the members in which anything is not finite; one look at all of them, since it comes at every step."""
    tensors = [t for at in signals for t in (at.z, at.a, at.delta)] + [t for l in layers for t in (l.w, l.b)]
    finite = torch.stack([t.isfinite().flatten(1).all(1) for t in tensors]).all(0).tolist()
    return [member for member in members if not finite[member]]


def first_not_finite(signals: list[LayerPass], layers: list[LayerParameters], member: int) -> tuple[int, str]:
    """Layer (from 1) and equation of the first number that is not finite, in the order they are worked out.

    Raises:
        ValueError: all of the member's numbers are finite.

    Example:
        >>> from undertow.lab import Ensemble
        >>> nets = Ensemble([2, 3, 1], initializer="large")
        >>> signals = nets.backpropagate(torch.tensor([[1.0, torch.inf]]), torch.tensor([[0.0]]))
        >>> first_not_finite(signals, nets.layers, 0)
        (1, 'forward')
    """
    last = len(signals)
    for l, at in enumerate(signals, 1):
        if not _finite(at.z[member], at.a[member]):
            return l, "forward"
    for l, at in reversed(list(enumerate(signals, 1))):
        if not _finite(at.delta[member]):
            return l, "BP1" if l == last else "BP2"
    for l, layer in enumerate(layers, 1):
        if not _finite(layer.b[member]):
            return l, "BP3"
        if not _finite(layer.w[member]):
            return l, "BP4"
    raise ValueError(f"every number of member {member} is finite")


def _finite(*tensors: Tensor) -> bool:
    return all(bool(t.isfinite().all()) for t in tensors)


def _check(n: int, epochs: int, batch_size: int, eta: float, lmbda: float, clip: float | None) -> None:
    if not (isinstance(epochs, Integral) and isinstance(batch_size, Integral)):
        raise ValueError(f"epochs = {epochs}, batch_size = {batch_size}: both are whole numbers")
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs = {epochs}, batch_size = {batch_size}: train at least one example at a time")
    if not (math.isfinite(eta) and 0 <= lmbda < math.inf):
        raise ValueError(f"eta = {eta}, lmbda = {lmbda}: both are finite, and lmbda is not negative")
    if eta * lmbda / n >= 1:
        raise ValueError(
            f"eta * lmbda / n = {eta * lmbda / n:.3g}: weight decay of 1 or more a step turns every weight round; "
            f"with {n} examples, lmbda must be under {n / eta:.3g}"
        )
    if clip is not None and not clip > 0:
        raise ValueError(f"clip = {clip}: the largest norm allowed is positive; leave clip away to allow any")


def _check_frozen(frozen: Sequence[int], depth: int) -> None:
    if not set(frozen) <= set(range(depth)):
        raise ValueError(f"frozen = {list(frozen)}: this network's layers are numbered 0 to {depth - 1}")


__getattr__ = old_names(__name__, {"History": "TrainingHistory"})
