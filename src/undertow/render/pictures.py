"""Weights as pictures: a grid of small images in one chart, each an embedded PNG instead of a mark a pixel."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.render.axes import charted
from undertow.render.theme import LAYER

NEGATIVE_TO_POSITIVE = ("#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2500a")
"""Blue, white, orange: the two signs stay apart for every eye, and zero stays white."""


def pictures(
    images: ArrayLike,
    *,
    names: Sequence[str] = (),
    value_title: str = "weight",
    limit: float | None = None,
    grey: bool = False,
    columns: int = 6,
    cell: int = 64,
    title: str = "",
) -> alt.Chart:
    """Matrices as small pictures in rows of ``columns``, all on one scale from -``limit`` to ``limit``.

    Args:
        images: [pictures, height, width].
        names: one for each, for the tooltip; "neuron 1", "neuron 2", ... by default.
        value_title: what the colours measure, for the legend.
        limit: the value of full colour; by default the 99.5th percentile of all sizes, beyond which colour is clipped.
            Give panels that are to be compared the same.
        grey: photographs instead of weights: from 0, black, to ``limit``, white, without a legend.
        columns: pictures in a row.
        cell: width and height given to each, pixels.
        title: of this panel.

    Raises:
        ValueError: ``images`` isn't three-dimensional.

    Example:
        >>> grid = pictures(np.zeros((3, 28, 28)), columns=3)
        >>> grid.width, grid.height, len(grid.data.values)
        (192, 64, 3)
    """
    stack = np.asarray(images, dtype=float)
    if stack.ndim != 3:
        raise ValueError(f"images have the shape [pictures, height, width]; these have {list(stack.shape)}")
    full = limit or float(np.quantile(np.abs(stack), 0.995)) or 1.0
    names = names or [f"neuron {k + 1}" for k in range(len(stack))]
    cells = [
        {
            "row": k // columns,
            "column": k % columns,
            "name": name,
            "value": 0,
            "picture": _address(_grey(image, full) if grey else _coloured(image, full)),
        }
        for k, (image, name) in enumerate(zip(stack, names, strict=True))
    ]
    titled: dict[str, Any] = {"title": title} if title else {}
    size = {"width": columns * cell, "height": -(-len(cells) // columns) * cell}
    return (
        charted(cells)
        .mark_image(width=cell - 4, height=cell - 4, smooth=False)
        .encode(
            x=alt.X("column:O", axis=None),
            y=alt.Y("row:O", axis=None),
            url=alt.Url("picture:N"),
            **({} if grey else {"color": _legend(full, value_title)}),
            tooltip=[alt.Tooltip("name:N", title=" ")],
        )
        .properties(**size, **titled)
        .add_params(LAYER)
    )


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of RGB pixels [height, width, 3] (ISO/IEC 15948: signature, header, one deflated block, end).

    Example:
        >>> png(np.zeros((2, 2, 3), dtype=np.uint8))[1:4]
        b'PNG'
    """
    height, width, _ = pixels.shape
    scanlines = b"".join(b"\x00" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _coloured(image: NDArray[np.floating], full: float) -> NDArray[np.uint8]:
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in NEGATIVE_TO_POSITIVE], dtype=float)
    places = np.linspace(-full, full, len(anchors))
    channels = [np.interp(np.nan_to_num(image), places, anchors[:, k]) for k in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _grey(image: NDArray[np.floating], full: float) -> NDArray[np.uint8]:
    levels = np.clip(np.nan_to_num(image) / full, 0, 1) * 255
    return np.stack([levels] * 3, axis=-1).round().astype(np.uint8)


def _address(pixels: NDArray[np.uint8]) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def _legend(full: float, title: str) -> alt.Color:
    ends = [-full, 0, full]
    scale = alt.Scale(domain=list(np.linspace(-full, full, 5)), range=list(NEGATIVE_TO_POSITIVE))
    legend = alt.Legend(title=title, values=ends, format=".2~g", gradientLength=120, gradientThickness=10, offset=4)
    return alt.Color("value:Q", scale=scale, legend=legend)
