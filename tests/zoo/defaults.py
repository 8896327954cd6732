"""Networks of three to eight layers at PyTorch's default start, which people bring every day and which train."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

from zoo import tasks
from zoo.case import Case
from zoo.healthy import of
from zoo.parts import mlp
from zoo.tasks import CLASSES

OPTIMIZERS = {"SGD": partial(SGD, lr=0.1, momentum=0.9), "Adam": partial(Adam, lr=2e-3)}


def perceptron(act: Callable[[], nn.Module], layers: int, width: int = 64) -> nn.Sequential:
    """``layers`` linear layers, the head included."""
    return mlp(act, layers - 1, width)


def pooled(layers: int, pool: Callable[[int], nn.Module], act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Convolutions with a pool after every second one, the mean over what is left, and two linear layers."""
    parts: list[nn.Module] = []
    for n in range(layers - 2):
        parts += [nn.Conv2d(16 if n else 3, 16, 3, padding=1), act(), *([pool(2)] if n % 2 else [])]
    return nn.Sequential(
        *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), act(), nn.Linear(32, CLASSES)
    )


class Reader(nn.Module):
    """A recurrent network over a sequence, two linear layers on its last output or on the mean of all."""

    def __init__(self, cell: Callable[..., nn.RNNBase], mean: bool = False, layers: int = 1):
        super().__init__()
        self.rnn, self.mean = cell(8, 32, batch_first=True, num_layers=layers), mean
        self.head = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        out = self.rnn(x)[0]
        return self.head(out.mean(1) if self.mean else out[:, -1])


class Autoencoder(nn.Module):
    """Six linear layers through a bottleneck, a class from its middle beside what it gives back."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 12))
        self.up = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.relu(self.down(x)))


SMALLER = partial(SGD, lr=0.05, momentum=0.9)
CONVOLUTIONS = {"SGD": (3, 4), "Adam": (3, 4, 5, 6, 7)}
ALL = (3, 4, 5, 6, 7, 8)
PERCEPTRONS = {(optimizer, act): ALL for optimizer in OPTIMIZERS for act in ("ReLU", "tanh", "leaky ReLU", "ELU")}
PERCEPTRONS |= {("Adam", "GELU"): ALL, ("Adam", "SiLU"): ALL, ("SGD", "GELU"): ALL[:4], ("SGD", "SiLU"): ALL[:4]}
"""Layers of those that were seen to train: GELU and SiLU of seven and eight layers don't under SGD in this time."""


def _cases() -> list[Case]:
    acts = {
        "ReLU": nn.ReLU,
        "tanh": nn.Tanh,
        "GELU": nn.GELU,
        "SiLU": nn.SiLU,
        "leaky ReLU": nn.LeakyReLU,
        "ELU": nn.ELU,
    }
    found: list[tuple[str, Callable[..., object], int]] = []
    for optimizer, make in OPTIMIZERS.items():
        for name, act in acts.items():
            for layers in PERCEPTRONS[optimizer, name]:
                build = of(partial(perceptron, act, layers), tasks.vectors, make)
                found.append((f"{name} {layers} layers, {optimizer}", build, 300))
        for layers in CONVOLUTIONS[optimizer]:
            for name, pool in (("max", nn.MaxPool2d), ("average", nn.AvgPool2d)):
                build = of(partial(pooled, layers, pool), tasks.images, make if optimizer == "Adam" else SMALLER)
                found.append((f"conv {layers} layers, {name} pools, {optimizer}", build, 300))
        for name, cell in (("RNN", nn.RNN), ("LSTM", nn.LSTM), ("GRU", nn.GRU)):
            for mean, stacked, steps in ((False, 1, 8), (False, 1, 12), (True, 1, 20), (True, 2, 12)):
                build = of(partial(Reader, cell, mean, stacked), partial(tasks.series, steps), make)
                kind = f"{name} of {stacked}" if stacked > 1 else name
                found.append((f"{kind}, {steps} steps, {'mean' if mean else 'last'}, {optimizer}", build, 120))
        found.append((f"bottleneck of 6, {optimizer}", of(Autoencoder, tasks.vectors, make), 300))
    return [
        Case(f"default: {name}", "default start", build, steps=steps, judged=("start", "trained"))
        for name, build, steps in found
    ]


CASES = _cases()
