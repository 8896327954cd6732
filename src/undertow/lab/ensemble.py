"""Many networks of one shape: trained side by side, taken out one by one as an nn.Module, kept in files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from undertow import activations
from undertow.lab import saving
from undertow.lab.networks import Networks
from undertow.lab.optimizers import Optimizer
from undertow.lab.training import Observer, TrainingHistory, train


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


class Ensemble(Networks):
    """R feed-forward networks of the same sizes, each from a seed of its own, trained on one order of mini-batches.

    Args:
        sizes: neurons in every layer, inputs first: ``[784, 30, 30, 10]`` has two hidden layers.
        members: R, how many networks.
        seed: member i starts from (seed, i) and the order of mini-batches from seed alone, so member i of a small
            ensemble starts as member i of a large one does.
        activation: of the hidden layers; a name from `undertow.activations.ACTIVATIONS`, or one for each.
        cost: "cross-entropy" (with sigmoid outputs), "quadratic", or "log-likelihood" (with a softmax).
        initializer: a name from `undertow.lab.initializers.WEIGHTS`, or an `Initializer`.
        output: activation of the output layer under the quadratic cost (default: the sigmoid).
        first_member: number of the first member; an ensemble can be split over processes without changing a bit of
            how its members start.
        numbers: the members' numbers one by one, in place of ``members`` and ``first_member``; a number that comes
            more than once gives members that start alike, to be scaled apart.

    Attributes:
        layers: one `LayerParameters` for each w^l, b^l: ``layers[0].w`` is w^1 of all members, [R, n_out, n_in].
        epochs_trained: how many epochs the order of mini-batches has advanced.

    Raises:
        ValueError: impossible sizes, or a name that there is not.

    Example:
        >>> import torch
        >>> nets = Ensemble([4, 3, 2], members=5, seed=1)
        >>> nets
        Ensemble([4, 3, 2], members=5, activation='sigmoid', cost='cross-entropy')
        >>> speed = nets.learning_speed(torch.rand(7, 4), torch.tensor([0, 1, 1, 0, 1, 0, 0]))
        >>> speed.shape    # members x layers, the output layer last
        torch.Size([5, 2])
    """

    def train(
        self,
        data: tuple[ArrayLike | Tensor, ArrayLike | Tensor],
        epochs: int,
        batch_size: int,
        eta: float,
        lmbda: float = 0.0,
        *,
        optimizer: str | Optimizer = "sgd",
        clip: float | None = None,
        frozen: Sequence[int] = (),
        evaluate: Mapping[str, tuple[ArrayLike | Tensor, ArrayLike | Tensor]] | None = None,
        observe: Observer | None = None,
        on_epoch: Callable[[int], object] | None = None,
    ) -> TrainingHistory:
        """Train every member by gradient descent on mini-batches.

        Every call starts with velocities at rest; only the order of the mini-batches goes on where it was.

        Args:
            data: inputs [n, n_in] and class labels [n] (or targets [n, n_out]).
            epochs: passes over the data.
            batch_size: examples in a mini-batch; n makes it full-batch descent, and the examples keep their order.
            eta: learning rate.
            lmbda: L2 regularisation; the weights (not the biases) shrink by 1 - eta * lmbda / n a step.
            optimizer: "sgd", "momentum", "nesterov", or one of your own (`undertow.lab.optimizers.Optimizer`).
            clip: the largest norm that a member's whole gradient may have.
            frozen: layers (0 is w^1) that are left as they are.
            evaluate: named data sets on which to measure accuracy after every epoch.
            observe: called as ``observe(t, signals)`` at every step, before the update, with the δ of step t.
            on_epoch: called with the number of the epoch that has just ended, from 1.

        Returns:
            What happened: accuracies [members, epochs], and which members diverged, when and where.

        Raises:
            ValueError: data that don't fit the network, or numbers that make no sense.

        Example:
            >>> import torch
            >>> nets = Ensemble([2, 4, 2], members=3, seed=1)
            >>> x, y = torch.rand(40, 2, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
            >>> history = nets.train((x, y), epochs=2, batch_size=10, eta=0.5, evaluate={"train": (x, y)})
            >>> history.accuracy["train"].shape
            (3, 2)
        """
        return train(
            self, data, epochs, batch_size, eta, lmbda,
            optimizer=optimizer, clip=clip, frozen=frozen, evaluate=evaluate or {},
            observe=observe, on_epoch=on_epoch,
        )  # fmt: skip

    def member(self, i: int) -> Network:
        """Member i as an nn.Module with weights of its own, identical to this one's.

        Raises:
            IndexError: there are not so many members.

        Example:
            >>> nets = Ensemble([4, 3, 2], members=2)
            >>> bool((nets.member(1).layers[0].weight == nets.layers[0].w[1]).all())
            True
        """
        if not 0 <= i < self.members:
            raise IndexError(f"no member {i}: this ensemble has members 0 to {self.members - 1}")
        return Network([(layer.w[i], layer.b[i, 0]) for layer in self.layers], self.activations, self.cost.name)

    def save(self, path: str | Path) -> None:
        """Write weights and settings into one safetensors file (settings as JSON in its header), all or nothing."""
        saving.save(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> "Ensemble":
        """Read what `save` wrote; nothing in the file is ever executed."""
        return saving.load(Path(path), Ensemble)
