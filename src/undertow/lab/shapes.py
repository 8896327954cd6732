"""Images of shapes without end, after Shapeset-3x2 of Glorot & Bengio 2010, section 2.1.

One or two triangles, rectangles or ellipses on a 32 x 32 canvas, each with a place, size, proportions, angle and grey
level of its own; where there are two, at most half of the smaller is covered. The class says which kinds are there
and not which lies in front: three alone, six pairs. Theirs had parallelograms where there are rectangles here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from undertow.lab.data import DataSplit

SIDE = 32
KINDS = ("triangle", "rectangle", "ellipse")
CLASSES = tuple((kind,) for kind in KINDS) + tuple((a, b) for i, a in enumerate(KINDS) for b in KINDS[i:])
"""Kinds of shapes in an image of class 0, 1, ..., 8."""

RADIUS = (4.5, 9.0)
"""Pixels from the middle to the far end along the long axis, of an ellipse; the others have about its area."""

PROPORTION = (0.55, 1.0)
MOST_COVERED = 0.5
LEAST_CONTRAST = 0.2
AT_ONCE = 128
"""Images drawn together: few enough to stay in cache."""

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


def shapeset(n: int, seed: int | Generator = 0) -> DataSplit:
    """Draw n images and their classes, all nine equally likely.

    Args:
        n: how many.
        seed: where randomness starts; a generator goes on where it is, so that a stream never repeats itself.

    Returns:
        x: float32 [n, 1024], grey levels in [0, 1); y: int64 [n], places in `CLASSES`.

    Raises:
        ValueError: n is negative.

    Example:
        >>> drawn = shapeset(5)
        >>> drawn.x.shape, len({round(v, 4) for v in drawn.x[0].tolist()}) <= 3    # ground and at most two shapes
        (torch.Size([5, 1024]), True)
        >>> [" and ".join(CLASSES[c]) for c in shapeset(2, seed=1).y.tolist()]
        ['triangle and rectangle', 'triangle and rectangle']
    """
    if n < 0:
        raise ValueError(f"n = {n}: draw no image or some")
    generator = np.random.default_rng(seed)
    y = generator.integers(len(CLASSES), size=n)
    x = np.empty((n, SIDE * SIDE), np.float32)
    for first in range(0, n, AT_ONCE):
        x[first : first + AT_ONCE] = _images(y[first : first + AT_ONCE], generator)
    return DataSplit(torch.from_numpy(x), torch.from_numpy(y))


def _images(y: NDArray[np.int64], generator: Generator) -> Array:
    """Shapes over the ground: the first drawn lies under the second, where there is one."""
    kinds = _kinds(y, generator)
    ground, lower, upper = _greys(len(y), generator)
    one, two = _masks(kinds[:, 0], generator), np.zeros((len(y), SIDE * SIDE), bool)
    pending = np.flatnonzero(kinds[:, 1] >= 0)
    while pending.size:
        two[pending] = _masks(kinds[pending, 1], generator)
        pending = pending[_too_covered(one[pending], two[pending])]
    return np.where(two, upper, np.where(one, lower, ground))


def _kinds(y: NDArray[np.int64], generator: Generator) -> NDArray[np.int64]:
    """Return the kinds in each image, [n, 2], in random order; -1 for no second."""
    table = np.array([[*map(KINDS.index, each), -1][:2] for each in CLASSES])
    kinds: NDArray[np.int64] = table[y]
    swapped = (generator.random(len(y)) < 0.5) & (kinds[:, 1] >= 0)
    kinds[swapped] = kinds[swapped, ::-1]
    return kinds


def _greys(n: int, generator: Generator) -> Array:
    """Three levels for each image, [3, n, 1], any two of them apart by at least `LEAST_CONTRAST`."""
    room = 1 - 2 * LEAST_CONTRAST
    levels = np.sort(generator.random((n, 3)) * room, axis=1) + np.arange(3) * LEAST_CONTRAST
    return generator.permuted(levels, axis=1).T[:, :, None].astype(np.float32)


def _masks(kinds: NDArray[np.int64], generator: Generator) -> Mask:
    """Return which pixels one shape in each image covers, [n, 1024]."""
    u, v = _frames(kinds, generator)
    inside = np.empty(u.shape, bool)
    for kind, covers in enumerate(_COVERS):
        chosen = kinds == kind
        inside[chosen] = covers(u[chosen], v[chosen])
    return inside.reshape(len(kinds), -1)


def _frames(kinds: NDArray[np.int64], generator: Generator) -> tuple[Array, Array]:
    """Every pixel in the coordinates of a shape of radius 1: moved, turned, stretched; two arrays [n, 32, 32]."""
    n = len(kinds)
    long = generator.uniform(*RADIUS, n)
    across = long * generator.uniform(*PROPORTION, n)
    margin = (long * np.array(_REACH)[kinds])[:, None]
    x, y = (margin + generator.random((n, 2)) * (SIDE - 1 - 2 * margin)).T
    angle = generator.uniform(0, 2 * np.pi, n)
    c, s = np.cos(angle), np.sin(angle)
    return _affine(c / long, s / long, x, y), _affine(-s / across, c / across, x, y)


def _affine(by_column: Any, by_row: Any, x: Any, y: Any) -> Array:
    """by_column (column - x) + by_row (row - y) at every pixel, as a sum of a row and a column."""
    pixels = np.arange(SIDE, dtype=np.float32)
    along = by_column[:, None] * (pixels - x[:, None])
    down = by_row[:, None] * (pixels - y[:, None])
    total: Array = along.astype(np.float32)[:, None, :] + down.astype(np.float32)[:, :, None]
    return total


def _triangle(u: Array, v: Array) -> Mask:
    """Regular before it is stretched, of the area of the circle of radius 1."""
    inner, tilted = np.float32(_TRIANGLE), np.float32(3**0.5) * np.abs(v)
    return (u >= -inner) & (u + tilted <= 2 * inner)


def _rectangle(u: Array, v: Array) -> Mask:
    inside: Mask = np.maximum(np.abs(u), np.abs(v)) <= np.float32(_SQUARE)
    return inside


def _ellipse(u: Array, v: Array) -> Mask:
    inside: Mask = u * u + v * v <= 1
    return inside


_TRIANGLE = (np.pi / (3 * 3**0.5)) ** 0.5
_SQUARE = np.pi**0.5 / 2


_COVERS: tuple[Callable[[Array, Array], Mask], ...] = (_triangle, _rectangle, _ellipse)
_REACH = (2 * _TRIANGLE, 2**0.5 * _SQUARE, 1.0)  # of the corners from the middle: a shape lies on the canvas whole


def _too_covered(one: Mask, two: Mask) -> Mask:
    smaller = np.minimum(one.sum(1), two.sum(1))
    covered: Mask = (one & two).sum(1) > MOST_COVERED * smaller
    return covered
