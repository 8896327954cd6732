"""Pictures of weights, pixel by pixel."""

import zlib

import numpy as np
import pytest

from undertow.render.figures import to_spec
from undertow.render.pictures import NEGATIVE_TO_POSITIVE, pictures, png


def values_of(spec):
    return [row for rows in spec["datasets"].values() for row in rows]


def pixels_of(file: bytes, width: int) -> np.ndarray:
    """Read back a PNG of one IDAT block with unfiltered RGB lines."""
    start = file.index(b"IDAT") + 4
    length = int.from_bytes(file[start - 8 : start - 4])
    assert zlib.crc32(file[start - 4 : start + length]) == int.from_bytes(file[start + length : start + length + 4])
    lines = np.frombuffer(zlib.decompress(file[start : start + length]), np.uint8).reshape(-1, 1 + 3 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(-1, width, 3)


def test_a_png_holds_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    assert (pixels_of(png(pixels), 7) == pixels).all()


def test_pictures_are_blue_below_zero_orange_above_and_clipped_at_the_limit():
    from base64 import b64decode

    chart = pictures([[[-9.0, -1.0, 0.0, 1.0, 9.0]]], limit=1.0)
    address = values_of(to_spec(chart))[0]["picture"]
    coloured = pixels_of(b64decode(address.partition(",")[2]), 5)[0]
    low, zero, high = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in NEGATIVE_TO_POSITIVE[::2])
    assert [tuple(pixel) for pixel in coloured.tolist()] == [low, low, zero, high, high]


def test_pictures_want_three_dimensions():
    with pytest.raises(ValueError, match=r"\[pictures, height, width\]; these have \[28, 28\]"):
        pictures(np.zeros((28, 28)))
