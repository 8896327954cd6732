"""The chapter's deepest network as a `Training`, for the doctor; what came of it is in `helped`."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow.lab import Dataset
from undertow.lab import data as sources
from undertow.studies.chapter5.config import BATCH_SIZE, ETA, HIDDEN, LMBDA, NEURONS
from undertow.training import Training

UPDATES = 2_000
"""Of a trial: 20,000 images, of 50,000."""

SCORED = 2_000
"""Validation images that a score is taken on."""


def training(data: Dataset | None = None) -> Training:
    """Say how the chapter trains [784, 30, 30, 30, 30, 10]: sigmoids, cross-entropy, SGD at 0.1, batches of ten.

    Args:
        data: images and labels; MNIST without, which must have been downloaded by `undertow.lab`.
    """
    data = data or sources.mnist()
    x, y = _tensors(data.train)
    held = _tensors(data.validation)
    decay = LMBDA / len(x)
    return Training(
        model=DeepestNetwork,
        batches=_Passes(x, y),
        loss=_cross_entropy,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=ETA, weight_decay=decay),
        score=_Right(held[0][:SCORED], held[1][:SCORED]),
        steps=UPDATES,
    )


def _tensors(part: Any) -> tuple[Tensor, Tensor]:
    """Return images as rows of float32, and labels."""
    x, y = (torch.as_tensor(each) for each in (part.x, part.y))
    return x.float(), y if y.ndim == 1 else y.argmax(1)


class DeepestNetwork(nn.Sequential):
    """[784, 30, 30, 30, 30, 10], weights of N(0, 1/n), biases of N(0, 1), as the book starts."""

    def __init__(self, inputs: int = 784) -> None:
        layers: list[nn.Module] = []
        for given, made in pairwise([inputs, *[NEURONS] * HIDDEN[-1], 10]):
            layer = nn.Linear(given, made)
            nn.init.normal_(layer.weight, std=given**-0.5)
            nn.init.normal_(layer.bias)
            layers += [layer, nn.Sigmoid()]
        super().__init__(*layers)


def _cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Compute the book's cost: the cross-entropy of each output by itself, summed over the ten."""
    x, y = batch
    wanted = functional.one_hot(y, 10).float()
    return functional.binary_cross_entropy(model(x), wanted, reduction="sum") / len(x)


@dataclass(frozen=True)
class _Passes:
    x: Tensor
    y: Tensor

    def __call__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for places in torch.randperm(len(self.x)).split(BATCH_SIZE):
            yield self.x[places], self.y[places]


@dataclass(frozen=True)
class _Right:
    x: Tensor
    y: Tensor

    def __call__(self, model: nn.Module) -> float:
        return float((model(self.x).argmax(1) == self.y).float().mean())
