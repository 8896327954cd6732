"""What all patients share: small data, how to train on it, and what a patient is."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

from undertow.training import Training

BATCH = 32


@dataclass(frozen=True)
class Patient:
    """A training that is broken, healthy or hopeless.

    Attributes:
        name: of the set-up and its fault.
        family: of the network.
        level: of the fault; "healthy" or "hopeless" where it has none, or none that can be mended.
        broken: makes the training.
        mended: makes it with its reference fix; None where there is none.
    """

    name: str
    family: str
    level: str
    broken: Callable[[], Training]
    mended: Callable[[], Training] | None = None


def in_pairs(group: str, made: Iterable[tuple[str, str, Callable[[bool], Training]]]) -> Iterator[Patient]:
    """Make patients of functions that make a training, broken or mended, each after its family and level."""
    for family, level, make in made:
        name = f"{group}, {make.__name__.replace('_', ' ')}"
        yield Patient(name, family, level, partial(make, True), partial(make, False))


@dataclass(frozen=True)
class Data:
    """Examples to train and to score with."""

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor

    def passes(self, size: int = BATCH, shuffled: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the training examples."""
        order = torch.randperm(len(self.x)) if shuffled else torch.arange(len(self.x))
        for places in order.split(size):
            if len(places) == size:
                yield self.x[places], self.y[places]

    def changed(
        self, x: Callable[[Tensor], Tensor] | None = None, y: Callable[[Tensor], Tensor] | None = None
    ) -> "Data":
        """The same with other inputs or targets, held-out ones included."""
        x, y = x or _same, y or _same
        return Data(x(self.x), y(self.y), x(self.held_x), y(self.held_y))


def _same(value: Tensor) -> Tensor:
    return value


def standardised(data: Data) -> Data:
    """Inputs of mean 0 and deviation 1, feature by feature."""
    mean, deviation = data.x.mean(0), data.x.std(0).clamp(min=1e-3)
    return data.changed(x=lambda x: (x - mean) / deviation)


@cache
def table(name: str) -> Data:
    """One of scikit-learn's tables, as it comes: iris, wine, breast_cancer, digits, diabetes."""
    loaded = getattr(datasets, f"load_{name}")()
    x = torch.tensor(loaded.data, dtype=torch.float32)
    y = torch.tensor(loaded.target, dtype=torch.float32 if name == "diabetes" else torch.int64)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y, cut = x[order], y[order], len(x) * 2 // 3
    return Data(x[:cut], y[:cut], x[cut:], y[cut:])


@cache
def digits(scale: float = 1.0) -> Data:
    """The 8 x 8 digits, between 0 and 1 times a scale."""
    return table("digits").changed(x=lambda x: x / 16 * scale)


def images(scale: float = 1.0) -> Data:
    """Digits as images of one channel."""
    return digits(scale).changed(x=lambda x: x.reshape(-1, 1, 8, 8) - 0.3 * scale)


def rows() -> Data:
    """Digits as sequences of their eight rows."""
    return digits().changed(x=lambda x: x.reshape(-1, 8, 8))


@cache
def remembered(length: int) -> Data:
    """Noise in which only the first step tells the class, of four."""
    draws = torch.Generator().manual_seed(1)
    y = torch.randint(4, (900,), generator=draws)
    x = 0.1 * torch.randn(900, length, 4, generator=draws)
    x[torch.arange(900), 0, y] += 1
    return Data(x[:600], y[:600], x[600:], y[600:])


@cache
def circles() -> Data:
    """Two rings, one within the other."""
    x, y = datasets.make_circles(900, noise=0.08, factor=0.5, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    return Data(x[:600], y[:600], x[600:], y[600:])


@cache
def curve(offset: float = 0.0, scale: float = 1.0) -> Data:
    """A sine of three inputs, in any units."""
    draws = torch.Generator().manual_seed(2)
    x = torch.randn(900, 3, generator=draws)
    y = offset + scale * torch.sin(x @ torch.tensor([1.0, 0.7, -0.5]))[:, None]
    return Data(x[:600], y[:600], x[600:], y[600:])


def trained(
    model: Callable[[], nn.Module],
    data: Data,
    *,
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    score: Callable[[nn.Module], float] | None = None,
    batch: int = BATCH,
    shuffled: bool = True,
    steps: int = 250,
    of: Callable[[nn.Module], Any] = nn.Module.parameters,
    rest: dict[str, Any] | None = None,
    **numbers: Any,
) -> Training:
    """How to train: SGD with momentum at 0.05 and cross entropy, unless told otherwise."""
    if not numbers and optimizer is torch.optim.SGD:
        numbers = {"lr": 0.05, "momentum": 0.9}
    return Training(
        model,
        partial(data.passes, batch, shuffled),
        loss or classed,
        lambda net: optimizer(of(net), **numbers),
        score or partial(accuracy, data=data),
        steps=steps,
        **(rest or {}),
    )


def classed(model: nn.Module, batch: Any) -> Tensor:
    """Cross entropy."""
    return functional.cross_entropy(model(batch[0]), batch[1])


def squared(model: nn.Module, batch: Any) -> Tensor:
    """Mean squared error."""
    return functional.mse_loss(model(batch[0]), batch[1])


def accuracy(model: nn.Module, data: Data) -> float:
    """Share of held-out examples whose class has the largest output."""
    return float((model(data.held_x).argmax(1) == data.held_y).float().mean())


def explained(model: nn.Module, data: Data) -> float:
    """Share of the held-out targets' variance that is explained, -1 at least."""
    made = model(data.held_x).reshape(data.held_y.shape)
    left = float((made - data.held_y).square().mean() / (data.held_y - data.held_y.mean()).square().mean())
    return max(-1.0, 1.0 - left)


def rebuilt(model: nn.Module, data: Data) -> float:
    """As `explained`, of the inputs themselves."""
    return explained(model, Data(data.x, data.x, data.held_x, data.held_x))


def rebuilding(model: nn.Module, batch: Any) -> Tensor:
    """Mean squared error of the inputs themselves."""
    return functional.mse_loss(model(batch[0]), batch[0])


def mlp(
    *sizes: int,
    act: Callable[[], nn.Module] = nn.ReLU,
    end: Callable[[], nn.Module] | None = None,
    norm: bool = False,
    drop: float = 0.0,
    start: Callable[[nn.Module], object] | None = None,
) -> Callable[[], nn.Module]:
    """What makes a stack of linear layers with activations between them."""

    def make() -> nn.Module:
        layers: list[nn.Module] = []
        for given, made in pairwise(sizes):
            layers.append(nn.Linear(given, made))
            layers += [nn.BatchNorm1d(made)] if norm else []
            layers.append(act())
            layers += [nn.Dropout(drop)] if drop else []
        while not isinstance(layers[-1], nn.Linear):
            layers.pop()
        return started(nn.Sequential(*layers, *([end()] if end else [])), start)

    return make


def started(model: nn.Module, start: Callable[[nn.Module], object] | None) -> nn.Module:
    """Change a model's layers to begin with."""
    for module in model.modules():
        if start is not None and isinstance(module, nn.Linear | nn.Conv2d):
            start(module)
    return model


def normal(deviation: float, bias: float | None = None) -> Callable[[Any], None]:
    """Weights drawn with a deviation, biases all of a value if one is given."""

    def start(layer: Any) -> None:
        nn.init.normal_(layer.weight, std=deviation)
        if bias is not None and layer.bias is not None:
            nn.init.constant_(layer.bias, bias)

    return start


def constant(value: float) -> Callable[[Any], None]:
    """All weights and biases alike."""

    def start(layer: Any) -> None:
        nn.init.constant_(layer.weight, value)
        nn.init.constant_(layer.bias, value)

    return start


def he(layer: Any) -> None:
    """He's start."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
