"""Small pictures of digits for a demonstration: scikit-learn's where it is installed, else drawn here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from undertow.extras import needed

GLYPHS = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00110 01000 10000 11111",
    "11110 00001 00001 01110 00001 00001 11110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)
"""The ten digits, five dots wide and seven high."""

SIZE = 8
DRAWN = 1500
NOISE = 0.15
TEST_SHARE = 5


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures and the digits on them.

    Attributes:
        x: the pictures, float32 [n, 1, 8, 8], from 0 to 1 as a rule.
        y: the digits, int64 [n].
        test_x, test_y: likewise, to judge with.
        origin: where they come from.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    origin: str


def digits() -> Digits:
    """Return scikit-learn's digits where it is installed, else as many that are drawn; nothing is downloaded.

    Example:
        >>> digits().x.shape[1:]
        torch.Size([1, 8, 8])
    """
    try:
        bunch = needed("sklearn.datasets", "digits", "these digits").load_digits()
    except ModuleNotFoundError:
        return drawn()
    return _split(bunch.images / 16, bunch.target, "scikit-learn's digits")


def drawn(count: int = DRAWN, seed: int = 0) -> Digits:
    """Draw digits: a glyph, moved by a dot or two, of any strength, under noise.

    Args:
        count: how many pictures.
        seed: of all that is random.

    Example:
        >>> drawn(50).y.bincount(minlength=10).numel()
        10
    """
    random = np.random.default_rng(seed)
    glyphs = np.array([[list(map(int, row)) for row in glyph.split()] for glyph in GLYPHS], float)
    labels = random.integers(10, size=count)
    pictures = random.normal(0.1, NOISE, (count, SIZE, SIZE))
    rows, high, wide = random.integers(2, size=count), *glyphs.shape[1:]
    for picture, label, top, left in zip(pictures, labels, rows, random.integers(4, size=count), strict=True):
        picture[top : top + high, left : left + wide] += random.uniform(0.4, 1.0) * glyphs[label]
    return _split(pictures.clip(0, 1), labels, "digits drawn by undertow")


def _split(pictures: Any, labels: Any, origin: str) -> Digits:
    order = np.random.default_rng(0).permutation(len(labels))
    x = torch.from_numpy(np.asarray(pictures[order], np.float32)[:, None])
    y = torch.from_numpy(np.asarray(labels[order], np.int64))
    kept = len(y) // TEST_SHARE
    return Digits(x[kept:], y[kept:], x[:kept], y[:kept], origin)
