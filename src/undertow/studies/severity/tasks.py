"""Small tasks that a healthy network of any kind learns in well under a hundred steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from undertow.lab import load

EXAMPLES, BATCH, EXAMINED = 1_000, 32, 64
SYMBOLS = 4


@dataclass(frozen=True, eq=False)
class LearningTask:
    """A data set to classify.

    Attributes:
        x: float32 [n, inputs], [n, 1, 8, 8] or [n, steps, inputs], or tokens, int64 [n, steps].
        y: class labels, int64 [n].
        classes: how many there are.
    """

    x: Tensor
    y: Tensor
    classes: int

    @property
    def first(self) -> tuple[Tensor, Tensor]:
        """The batch that a network is examined on."""
        return self.x[:EXAMINED], self.y[:EXAMINED]

    def batches(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Mini-batches without end, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        while True:
            rows = torch.randint(len(self.y), (BATCH,), generator=generator)
            yield self.x[rows], self.y[rows]


@cache
def task(name: str, steps: int = 0) -> LearningTask:
    """The task of a name: vectors, images, recall, mean or tokens; ``steps`` is the length of sequences.

    Example:
        >>> task("recall", 10).x.shape
        torch.Size([1000, 10, 8])
    """
    generator = torch.Generator().manual_seed(17)
    makers: dict[str, Callable[[], LearningTask]] = {
        "vectors": lambda: _digits((64,)),
        "images": lambda: _digits((1, 8, 8)),
        "recall": lambda: _recall(steps, generator),
        "mean": lambda: _mean(steps, generator),
        "tokens": lambda: _tokens(steps, generator),
    }
    return makers[name]()


def _digits(shape: tuple[int, ...]) -> LearningTask:
    data = load("digits").train
    x = (data.x - data.x.mean()) / data.x.std()
    return LearningTask(x[:EXAMPLES].reshape(-1, *shape), data.y[:EXAMPLES], 10)


def _recall(steps: int, generator: torch.Generator) -> LearningTask:
    """Draw sequences whose class is the symbol at the first step, before noise."""
    y = torch.randint(SYMBOLS, (EXAMPLES,), generator=generator)
    x = 0.5 * torch.randn(EXAMPLES, steps, 2 * SYMBOLS, generator=generator)
    x[:, 0] = 0.0
    x[torch.arange(EXAMPLES), 0, y] = 2.0
    return LearningTask(x, y, SYMBOLS)


def _mean(steps: int, generator: torch.Generator) -> LearningTask:
    """A mean for every class, in noise, at every step."""
    y = torch.randint(SYMBOLS, (EXAMPLES,), generator=generator)
    centres = torch.randn(SYMBOLS, 1, 2 * SYMBOLS, generator=generator)
    return LearningTask(centres[y] + torch.randn(EXAMPLES, steps, 2 * SYMBOLS, generator=generator), y, SYMBOLS)


def _tokens(steps: int, generator: torch.Generator) -> LearningTask:
    """Counting in steps of 1 to 4 from anywhere; the class is the step."""
    y = torch.randint(SYMBOLS, (EXAMPLES,), generator=generator)
    start = torch.randint(28, (EXAMPLES, 1), generator=generator)
    return LearningTask((start + (1 + y[:, None]) * torch.arange(steps)) % 28, y, SYMBOLS)
