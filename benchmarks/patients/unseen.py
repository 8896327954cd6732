"""Broken trainings that were written before anybody had tried the doctor on them, in other hands than the rest.

Loaders, closures, layers of one's own, calls of functions: the ways in which people write such things.
"""

import copy
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from patients.unseen_networks import BatchNormed, Bottle, Convolved, Dropping, Graph, InADict, Regressor, Rows
from patients.ward import Patient, in_pairs
from undertow.training import Training

Split = tuple[Tensor, Tensor, Tensor, Tensor]


def unseen() -> Iterator[Patient]:
    """All of them."""
    return in_pairs("unseen", (
        ("CNN", "D", convolved_softmax_twice), ("CNN", "A", convolved_other_optimizer), ("CNN", "B", convolved_zeros),
        ("CNN", "A", convolved_schedule), ("transformer", "B", attention_unscaled), ("transformer", "A", rows_decay),
        ("GNN", "C", graph_of_24_layers), ("autoencoder", "D", pixels_behind_sigmoid),
        ("autoencoder", "A", summed_squares), ("MLP", "D", huber_broadcast), ("MLP", "C", layers_in_a_dict),
        ("MLP", "A", killed_by_the_rate), ("MLP", "C", batch_norm_of_two), ("MLP", "A", statistics_that_stay),
        ("MLP", "D", encoder_without_gradient), ("MLP", "A", gradients_never_zeroed), ("MLP", "C", functional_dropout),
        ("MLP", "D", penalty_on_weights), ("MLP", "D", faint_similarities),
    ))  # fmt: skip


@cache
def digits() -> Split:
    """Digits between 0 and 1: 1,200 to train with."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(3).permutation(len(images))  # as it was measured
    x, y = torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(labels[order])
    return x[:1200], y[:1200], x[1200:], y[1200:]


def images() -> Split:
    """Digits as images of one channel."""
    x, y, u, v = digits()
    return x.view(-1, 1, 8, 8), y, u.view(-1, 1, 8, 8), v


def loader(*tensors: Tensor, size: int = 64, rest: bool = False) -> DataLoader[Any]:
    """Batches in random order; what is left over is one, or goes."""
    return DataLoader(TensorDataset(*tensors), size, shuffle=True, drop_last=not rest)


def classes(
    data: Split,
    model: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    size: int = 64,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    **rest: Any,
) -> Training:
    """How to train a classifier."""
    x, y, u, v = data
    entropy = nn.CrossEntropyLoss()
    return Training(
        model, loader(x, y, size=size), loss or (lambda net, batch: entropy(net(batch[0]), batch[1])), optimizer,
        score=lambda net: (net(u).argmax(-1) == v).float().mean().item(), **rest,
    )  # fmt: skip


def sgd(lr: float, momentum: float = 0.0) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """SGD over all parameters."""
    return lambda net: torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)


def adam(lr: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Adam over all parameters."""
    return lambda net: torch.optim.Adam(net.parameters(), lr=lr)


def stack(*layers: int) -> Callable[[], nn.Module]:
    """Linear layers with ReLUs between them."""

    def make() -> nn.Module:
        parts = [each for a, b in pairwise(layers) for each in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*parts[:-1])

    return make


def convolved_softmax_twice(broken: bool) -> Training:
    """A softmax at the end of forward, and a loss that has its own."""
    return classes(images(), lambda: Convolved(broken), sgd(0.1), steps=300)


def convolved_other_optimizer(broken: bool) -> Training:
    """The optimizer holds the parameters of a copy."""

    def make(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam((copy.deepcopy(net) if broken else net).parameters(), lr=2e-3)

    return classes(images(), lambda: Convolved(False), make, steps=250)


def convolved_zeros(broken: bool) -> Training:
    """Weights are set to zero by `apply`."""

    def flat(layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def make() -> nn.Module:
        return Convolved(False).apply(flat) if broken else Convolved(False)

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return functional.nll_loss(net(batch[0]).log_softmax(1), batch[1])

    return classes(images(), make, sgd(0.1, 0.9), loss=loss, steps=250)


def convolved_schedule(broken: bool) -> Training:
    """A schedule of epochs is stepped after batches."""
    falling = partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[3, 6, 9], gamma=0.05)
    return classes(
        images(), lambda: Convolved(False), adam(3e-3), steps=250, scheduler=falling if broken else None
    )  # fmt: skip


def _rows() -> Split:
    x, y, u, v = digits()
    return x.view(-1, 8, 8), y, u.view(-1, 8, 8), v


def attention_unscaled(broken: bool) -> Training:
    """Scores aren't divided by the root of their length, and start large."""
    return classes(_rows(), lambda: Rows(not broken, 3.0 if broken else 0.0), adam(1e-3), steps=250)


def rows_decay(broken: bool) -> Training:
    """AdamW with a decay of 100."""
    decay = 100.0 if broken else 0.01
    return classes(
        _rows(), Rows, lambda net: torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=decay), steps=250
    )  # fmt: skip


def graph_of_24_layers(broken: bool) -> Training:
    """Graph convolutions without end, with weights of their own."""
    draws = torch.Generator().manual_seed(11)
    y = torch.arange(240) % 3
    joined = (torch.rand(240, 240, generator=draws) < torch.where(y[:, None] == y[None], 0.10, 0.015)).float().triu(1)
    sums = joined + joined.T + torch.eye(240)
    root = sums.sum(1).rsqrt()
    graph = root[:, None] * sums * root[None]
    x = functional.one_hot(y, 6).float() + 1.2 * torch.randn(240, 6, generator=draws)
    known = torch.rand(240, generator=draws) < 0.4
    return Training(
        lambda: Graph(24 if broken else 2), [(x, graph, y)],
        lambda net, batch: functional.cross_entropy(net(batch[0], batch[1])[known], batch[2][known]),
        lambda net: torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4),
        score=lambda net: (net(x, graph)[~known].argmax(1) == y[~known]).float().mean().item(), steps=150,
    )  # fmt: skip


def _rebuilding(data: tuple[Tensor, Tensor], end: Any, optimizer: Any, reduction: str = "mean") -> Training:
    x, u = data
    whole = (u - u.mean(0)).square().mean()
    return Training(
        lambda: Bottle(end), loader(x, rest=True),
        lambda net, batch: functional.mse_loss(net(batch[0]), batch[0], reduction=reduction), optimizer,
        score=lambda net: max(-1.0, 1 - float((net(u) - u).square().mean() / whole)), steps=400,
    )  # fmt: skip


def pixels_behind_sigmoid(broken: bool) -> Training:
    """Pixels of 0 to 255 are to come out of a sigmoid."""
    x, _, u, _ = digits()
    return _rebuilding((x * 255, u * 255) if broken else (x, u), nn.Sigmoid, adam(3e-3))


def summed_squares(broken: bool) -> Training:
    """The loss is a sum over pixels and examples."""
    x, _, u, _ = digits()
    return _rebuilding((x, u), nn.Identity, sgd(0.5, 0.9), "sum" if broken else "mean")


def huber_broadcast(broken: bool) -> Training:
    """Outputs [n] against targets [n, 1]."""
    draws = torch.Generator().manual_seed(9)
    x = torch.rand(1000, 2, generator=draws) * 4 - 2
    y = torch.sin(2 * x[:, 0]) * x[:, 1]
    huber, held = nn.SmoothL1Loss(), y[700:]
    return Training(
        lambda: Regressor(broken), loader(x[:700], y[:700, None], size=50),
        lambda net, batch: huber(net(batch[0]), batch[1]), adam(5e-3),
        score=lambda net: max(-1.0, 1 - float((net(x[700:]).reshape(-1) - held).square().mean() / held.var())),
        steps=300,
    )  # fmt: skip


def layers_in_a_dict(broken: bool) -> Training:
    """Layers are kept in a plain dict."""
    return classes(
        digits(), lambda: InADict(dict if broken else nn.ModuleDict),
        lambda net: torch.optim.RMSprop(net.parameters(), lr=3e-3), steps=300,
    )  # fmt: skip


def killed_by_the_rate(broken: bool) -> Training:
    """Adam at 0.3 kills ReLUs in its first steps."""
    return classes(digits(), stack(64, 64, 64, 64, 10), adam(0.3 if broken else 1e-3), steps=250)


def batch_norm_of_two(broken: bool) -> Training:
    """BatchNorm over batches of two."""
    size, lr = (2, 0.05) if broken else (32, 0.1)
    return classes(digits(), BatchNormed, sgd(lr), size, steps=300)


def statistics_that_stay(broken: bool) -> Training:
    """BatchNorm's running statistics hardly move."""
    x, y, u, v = digits()
    return classes((x * 4, y, u * 4, v), lambda: BatchNormed(1e-5 if broken else 0.1), adam(3e-3), steps=200)


def encoder_without_gradient(broken: bool) -> Training:
    """The encoder runs where gradients are off."""

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 3), nn.Tanh())
            self.head = stack(3, 32, 10)()

        def forward(self, x: Tensor) -> Tensor:
            with torch.set_grad_enabled(not broken and torch.is_grad_enabled()):
                z = self.encoder(x)
            return self.head(z)  # type: ignore[no-any-return]

    return classes(digits(), Cut, adam(5e-3), steps=400)


class _Forgetful(torch.optim.SGD):
    """Keeps gradients, whatever it is asked."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        del set_to_none


def gradients_never_zeroed(broken: bool) -> Training:
    """Gradients of past steps add up."""
    kind = _Forgetful if broken else torch.optim.SGD
    return classes(digits(), stack(64, 32, 32, 10), lambda net: kind(net.parameters(), lr=0.2), steps=300)


def functional_dropout(broken: bool) -> Training:
    """Functions drop nearly everything."""
    return classes(digits(), lambda: Dropping(0.98 if broken else 0.1), adam(3e-3), steps=250)


def penalty_on_weights(broken: bool) -> Training:
    """An L1 penalty that is stronger than the data."""
    strength = 0.05 if broken else 1e-5

    def loss(net: nn.Module, batch: Any) -> Tensor:
        penalty = sum(p.abs().sum() for p in net.parameters())
        return functional.cross_entropy(net(batch[0]), batch[1]) + strength * penalty

    return classes(digits(), stack(64, 32, 10), adam(3e-3), loss=loss, steps=250)


def faint_similarities(broken: bool) -> Training:
    """Cosines are multiplied by a thousandth before the softmax."""

    class Cosines(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.kinds = stack(64, 64, 24)(), nn.Parameter(torch.randn(10, 24))

        def forward(self, x: Tensor) -> Tensor:
            made = functional.normalize(self.body(x), dim=1) @ functional.normalize(self.kinds, dim=1).T
            return made * (0.001 if broken else 10.0)  # type: ignore[no-any-return]

    return classes(digits(), Cosines, sgd(0.1, 0.9), steps=200)
