"""A convolutional network that doesn't learn: `undertow demo` examines and mends it. This copy is yours to change."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

import undertow
from undertow.demonstration.digits import digits

data = digits()  # .x [n, 1, 8, 8], .y [n]; .test_x, .test_y


def network() -> nn.Module:
    """Return five convolutions, as somebody might have written them in 1995, and an output layer."""
    channels = [1, 8, 8, 8, 8, 8]
    layers: list[nn.Module] = [
        layer for n, m in pairwise(channels) for layer in (nn.Conv2d(n, m, 3, padding=1), nn.Sigmoid())
    ]
    layers.insert(2, nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 4 * 4, 10))


def batches() -> list[tuple[Tensor, Tensor]]:
    """Return one pass over the data, in an order of its own."""
    return [(data.x[part], data.y[part]) for part in torch.randperm(len(data.y)).split(64)]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the cross-entropy of the model on a batch."""
    x, y = batch
    return functional.cross_entropy(model(x), y)


def accuracy(model: nn.Module) -> float:
    """Return which part of the test pictures the model reads rightly."""
    return float((model(data.test_x).argmax(1) == data.test_y).float().mean())


def training() -> undertow.Training:
    """Say how the network is trained."""
    return undertow.Training(
        model=network,
        batches=batches,
        loss=loss,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        score=accuracy,
        steps=120,
    )
