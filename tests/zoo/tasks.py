"""Small tasks that can be learned: each is a function () -> a random mini-batch of a fixed data set."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Batches = Callable[[], tuple[Tensor, ...]]
CLASSES = 4


def _batches(*data: Tensor, size: int) -> Batches:
    def draw() -> tuple[Tensor, ...]:
        rows = torch.randint(len(data[0]), (size,))
        return tuple(each[rows] for each in data)

    return draw


def vectors(width: int = 64, scale: float = 1.0, size: int = 64) -> Batches:
    """Labels by a linear teacher."""
    x = torch.randn(256, width)
    y = (x @ torch.randn(width, CLASSES)).argmax(1)
    return _batches(scale * x, y, size=size)


def images(side: int = 16, channels: int = 3, scale: float = 1.0, shift: float = 0.0, size: int = 24) -> Batches:
    """A picture for every class, in noise."""
    y = torch.randint(CLASSES, (128,))
    x = 0.7 * torch.randn(CLASSES, channels, side, side)[y] + 0.7 * torch.randn(128, channels, side, side)
    return _batches(scale * (x + shift), y, size=size)


def series(steps: int = 24, width: int = 8, scale: float = 1.0, size: int = 32) -> Batches:
    """A mean for every class, in noise, at every step."""
    y = torch.randint(CLASSES, (128,))
    x = torch.randn(CLASSES, 1, width)[y] + 0.5 * torch.randn(128, steps, width)
    return _batches(scale * x, y, size=size)


def tokens(vocabulary: int = 32, length: int = 16, size: int = 16) -> Batches:
    """Counting in steps of 1 to 4 from anywhere; the class is the step."""
    y = torch.randint(CLASSES, (128,))
    start = torch.randint(vocabulary - 4, (128, 1))
    x = 4 + (start + (1 + y[:, None]) * torch.arange(length)) % (vocabulary - 4)
    return _batches(x, y, size=size)


def sounds(length: int = 1600, size: int = 8) -> Batches:
    """A pitch for every class."""
    y = torch.randint(CLASSES, (64,))
    pitch = torch.tensor([0.05, 0.11, 0.23, 0.37])[y][:, None]
    x = torch.sin(pitch * torch.arange(length) + 6 * torch.rand(64, 1)) + 0.1 * torch.randn(64, length)
    return _batches(x, y, size=size)


def classify(model: Callable[[Tensor], Tensor], batches: Batches, scale: float = 1.0) -> Callable[[], Tensor]:
    """Cross-entropy of a mini-batch."""

    def compute_loss() -> Tensor:
        x, y = batches()
        return scale * functional.cross_entropy(model(x), y)

    return compute_loss
