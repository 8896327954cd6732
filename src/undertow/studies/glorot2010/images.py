"""Where a network's training images come from: a data set in a new order each time round, or shapes without end."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from undertow.lab import Dataset
from undertow.lab.data import Split
from undertow.lab.shapes import shapeset
from undertow.studies.glorot2010.protocol import SHAPES


class Images(Protocol):
    """A source of training images."""

    validation: Split
    test: Split

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """The next n images and their classes."""


class Rounds:
    """A data set, shuffled anew each time all of it has been seen.

    Example:
        >>> from undertow.lab import digits
        >>> data = digits()
        >>> x, y = Rounds(data, seed=0).take(3 * len(data.train))
        >>> bool((y.bincount() == 3 * data.train.y.bincount()).all())    # each image three times
        True
    """

    def __init__(self, data: Dataset, seed: int) -> None:
        self.train, self.validation, self.test = data.train, data.validation, data.test
        self._generator = np.random.default_rng(seed)
        self._left = np.empty(0, dtype=np.int64)

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """The next n images and their classes."""
        while len(self._left) < n:
            self._left = np.concatenate([self._left, self._generator.permutation(len(self.train))])
        chosen, self._left = torch.from_numpy(self._left[:n]), self._left[n:]
        return self.train.x[chosen], self.train.y[chosen]


class Shapes:
    """Shapes, of which no two are the same; those held out have streams of their own and are never trained on.

    Example:
        >>> x, y = Shapes(seed=0, held_out=10).take(4)
        >>> x.shape
        torch.Size([4, 1024])
    """

    def __init__(self, seed: int, held_out: int) -> None:
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
        self._stream = streams[0]
        self.validation, self.test = (_centred(shapeset(held_out, stream)) for stream in streams[1:])

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """The next n images and their classes."""
        drawn = _centred(shapeset(n, self._stream))
        return drawn.x, drawn.y


def _centred(drawn: Split) -> Split:
    """Grey levels from -1/2 to 1/2: a mean brightness that says nothing would slow the first layer down."""
    return Split(drawn.x - 0.5, drawn.y)


def images(source: str, data: Dataset, seed: int, held_out: int) -> Images:
    """The images of a source, always the same ones for a seed; so many shapes are held out for each purpose."""
    return Shapes(seed, held_out) if source == SHAPES else Rounds(data, seed)
