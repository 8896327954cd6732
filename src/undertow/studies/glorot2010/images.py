"""Training images of a network: a data set in a new order each time round, or shapes without end."""

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from undertow.lab import Dataset
from undertow.lab.data import DataSplit
from undertow.lab.shapes import SIDE, shapeset
from undertow.studies.glorot2010.config import SHAPES


class Images(Protocol):
    """A source of training images."""

    validation: DataSplit
    test: DataSplit

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the next n images and their classes."""


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
        """Return the next n images and their classes."""
        while len(self._left) < n:
            self._left = np.concatenate([self._left, self._generator.permutation(len(self.train))])
        chosen, self._left = torch.from_numpy(self._left[:n]), self._left[n:]
        return self.train.x[chosen], self.train.y[chosen]


class Shapes:
    """Shapes, of which no two are the same; those held out have streams of their own and are never trained on.

    To train on, each one drawn is taken eight times, turned and mirrored (`eightfold`): as likely as it was itself,
    and to draw one takes longer than to train on it.

    Example:
        >>> x, y = Shapes(seed=0, held_out=10).take(4)
        >>> x.shape
        torch.Size([4, 1024])
    """

    def __init__(self, seed: int, held_out: int) -> None:
        self._stream = _streams(seed)[0]
        self.validation, self.test = _held_out(seed, held_out)

    def take(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the next n images and their classes."""
        x, y = eightfold(_centred(shapeset(-(-n // 8), self._stream)))
        mixed = torch.from_numpy(self._stream.permutation(len(y))[:n])
        return x[mixed], y[mixed]


def _streams(seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(3)]


@lru_cache(maxsize=2)  # of a study's own seed and of its pilots', which would be drawn anew for every learning rate
def _held_out(seed: int, n: int) -> tuple[DataSplit, DataSplit]:
    _, validation, test = _streams(seed)
    return _centred(shapeset(n, validation)), _centred(shapeset(n, test))


def eightfold(drawn: DataSplit) -> tuple[Tensor, Tensor]:
    """Square pictures and their mirror images, all in four directions, and their classes.

    Example:
        >>> x, y = eightfold(shapeset(2))
        >>> x.shape, bool((y == shapeset(2).y.repeat(8)).all())
        (torch.Size([16, 1024]), True)
        >>> bool((x.sum(1).view(8, 2) - x[:2].sum(1)).abs().max() < 0.01)    # the same pixels elsewhere
        True
    """
    pictures = drawn.x.view(-1, SIDE, SIDE)
    turned = [torch.rot90(each, k, (1, 2)) for each in (pictures, pictures.flip(2)) for k in range(4)]
    return torch.cat(turned).flatten(1), drawn.y.repeat(8)


def _centred(drawn: DataSplit) -> DataSplit:
    """Grey levels from -1/2 to 1/2: a mean brightness that says nothing would slow the first layer down."""
    return DataSplit(drawn.x - 0.5, drawn.y)


def images(source: str, data: Dataset, seed: int, held_out: int) -> Images:
    """Return the images of a source, always the same ones for a seed; so many shapes are held out for each purpose."""
    return Shapes(seed, held_out) if source == SHAPES else Rounds(data, seed)
