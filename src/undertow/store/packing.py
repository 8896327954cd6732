"""Numbers as bytes: one row while it is fresh, blocks of one column once there are enough rows.

A layout says which numbers are kept: of every column those places at which something was ever measured. The bytes of a
block lie in planes (all first bytes, all second bytes, ...), because neighbours in time have signs and exponents in
common and little else: planes that shrink are deflated, the others are left as they are, and reading stays quick.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Key = tuple[str, str]
"""Of a column: its group in a Run and its name in there."""
Bytes = NDArray[np.uint8]

DTYPES = ("<f4", "<f8")
MOST_PLACES = 1 << 24
MOST_ROWS = 1 << 16
_WORTH_IT = 0.9


class Damaged(Exception):  # noqa: N818  # it is a state of a file; StoreError is what callers see
    """Bytes that are not what was written."""


BROKEN = (
    Damaged, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, MemoryError,
    zlib.error,
)  # fmt: skip
"""What comes of reading bytes that are not what was written."""


class Misfit(Exception):  # noqa: N818  # an answer more than an error: the layout has to grow
    """A row with numbers in places that its layout leaves out."""


class Kept(NamedTuple):
    """The kept part of one column: the places ``at`` [kept places] of ``width``."""

    group: str
    name: str
    dtype: str
    width: int
    at: NDArray[np.intp]

    @property
    def nbytes(self) -> int:
        """Return the size of one row."""
        return len(self.at) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Layout:
    """The numbers that are kept, in their order."""

    columns: tuple[Kept, ...] = ()

    @cached_property
    def places(self) -> Mapping[Key, int]:
        """Return the place of every column."""
        return {(kept.group, kept.name): place for place, kept in enumerate(self.columns)}

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Return where in a row every column begins, and where the last one ends."""
        return tuple(np.cumsum([0, *(kept.nbytes for kept in self.columns)]).tolist())

    def grown(self, rows: Mapping[Key, NDArray[np.floating]]) -> "Layout":
        """Return a layout with room for what ``rows`` (columns of [rows, width] each) have measured.

        Raises:
            ValueError: a column that is no float32 or float64, or of another width than before.
        """
        known = {(kept.group, kept.name): kept for kept in self.columns}
        for key, values in rows.items():
            known[key] = _grown(known.get(key), key, values)
        return Layout(tuple(known.values()))

    def pack(self, rows: Mapping[Key, NDArray[np.floating]]) -> list[bytes]:
        """Write rows as bytes, from columns of [rows, width] each.

        Raises:
            Misfit: there is more in them than the layout keeps.
        """
        if not rows.keys() <= self.places.keys():
            raise Misfit
        count = max(map(len, rows.values()), default=0)
        parts = [_picked(kept, rows.get((kept.group, kept.name)), count) for kept in self.columns]
        return list(map(bytes, np.concatenate(parts, axis=1))) if parts else [b""] * count

    def to_json(self) -> str:
        """Write it as text, which `from_json` reads."""
        masks = [np.isin(np.arange(kept.width), kept.at) for kept in self.columns]
        rows = [
            [kept.group, kept.name, kept.dtype, kept.width, np.packbits(mask).tobytes().hex()]
            for kept, mask in zip(self.columns, masks, strict=True)
        ]
        return json.dumps(rows)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a layout from text that nobody vouches for.

        Raises:
            Damaged: it is none.
        """
        return cls(tuple(_kept(*row) for row in json.loads(text)))


def _kept(group: str, name: str, dtype: str, width: int, mask: str) -> Kept:
    packed = np.frombuffer(bytes.fromhex(mask), np.uint8)
    if not (isinstance(group, str) and isinstance(name, str) and dtype in DTYPES and type(width) is int):
        raise Damaged("a layout that no undertow writes")
    if not 0 <= width <= MOST_PLACES or len(packed) != -(-width // 8):
        raise Damaged("a layout with places that are not there")
    return Kept(group, name, dtype, width, np.flatnonzero(np.unpackbits(packed, count=width)))


def _grown(kept: Kept | None, key: Key, values: NDArray[np.floating]) -> Kept:
    measured = ~np.isnan(values).all(axis=0)
    dtype = values.dtype.newbyteorder("<").str
    if kept is not None:
        if kept.width != len(measured):
            raise ValueError(f"{key[1]!r} has {len(measured)} places, but had {kept.width} before")
        measured[kept.at] = True
        dtype = max(dtype, kept.dtype)
    if dtype not in DTYPES:
        raise ValueError(f"{key[1]!r} is {values.dtype}, but must be float32 or float64")
    return Kept(*key, dtype, len(measured), np.flatnonzero(measured))


def _picked(kept: Kept, values: NDArray[np.floating] | None, rows: int) -> Bytes:
    if values is None:
        picked = np.full((rows, len(kept.at)), np.nan, kept.dtype)
    elif values.itemsize > np.dtype(kept.dtype).itemsize or values.shape[1] != kept.width:
        raise Misfit
    else:
        picked = values if len(kept.at) == kept.width else values[:, kept.at]
        if picked is not values and np.count_nonzero(picked == picked) != np.count_nonzero(values == values):
            raise Misfit
    return np.ascontiguousarray(picked, kept.dtype).view(np.uint8).reshape(rows, kept.nbytes)


def columns_of(layout: Layout, rows: Sequence[bytes]) -> Iterator[NDArray[np.floating]]:
    """From rows to columns: every column of the layout, [rows, kept places]."""
    width = layout.offsets[-1]
    if any(len(row) != width for row in rows):
        raise Damaged("a row of the wrong length")
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), width)
    for kept, start, end in zip(layout.columns, layout.offsets, layout.offsets[1:], strict=False):
        yield np.ascontiguousarray(table[:, start:end]).view(kept.dtype).reshape(len(rows), len(kept.at))


def sealed(content: bytes, *place: int) -> bytes:
    """Add a checksum of the content and of where it stands."""
    return _sum(content, place).to_bytes(4, "little") + content


def unsealed(content: bytes, *place: int, older: bool = False) -> bytes:
    """Check and take off what `sealed` added.

    Args:
        content: from the file.
        place: where it stands.
        older: whether a sum that leaves out the place will do.

    Raises:
        Damaged: it is not what was sealed there.
    """
    if isinstance(content, bytes):
        told, rest = int.from_bytes(content[:4], "little"), content[4:]
        if told == _sum(rest, place) or (older and told == _sum(rest, ())):
            return rest
    raise Damaged("a sum that does not agree with its bytes")


def _sum(content: bytes, place: Sequence[int]) -> int:
    return zlib.crc32(content, zlib.crc32(" ".join(map(repr, place)).encode()))


def deflate(values: NDArray[np.floating], *place: int) -> bytes:
    """Compress a block of one column, [rows, kept places], to bytes that are sealed for their place."""
    # Byte by byte across numbers: neighbours share sign and exponent, so that those planes shrink to little.
    planes = np.ascontiguousarray(values.T).reshape(-1, 1).view(np.uint8).T
    return sealed(b"".join(_plane(np.ascontiguousarray(plane).tobytes()) for plane in planes), *place)


def _plane(raw: bytes) -> bytes:
    # Level 1: the mantissa's planes are noise, which higher levels only take longer to find out.
    packed = zlib.compress(raw, 1)
    kept = packed if len(packed) < _WORTH_IT * len(raw) else raw
    return len(kept).to_bytes(4, "little") + kept


def inflate(content: bytes, rows: int, kept: Kept) -> NDArray[np.floating]:
    """Read back what `deflate` wrote, its sum taken off: [rows, kept places].

    Raises:
        Damaged: the bytes are not what was written.
    """
    planes = list(_planes(content, rows * len(kept.at)))
    dtype = np.dtype(kept.dtype)
    if len(planes) != dtype.itemsize:
        raise Damaged("a block of another type")
    together = np.stack(planes, axis=1) if planes[0].size else np.empty((0, dtype.itemsize), np.uint8)
    return together.reshape(-1).view(dtype).reshape(len(kept.at), rows).T


def _planes(content: bytes, length: int) -> Iterable[Bytes]:
    start = 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 4], "little")
        packed = content[start + 4 : start + 4 + size]
        start += 4 + size
        # At most `length`: a damaged block must not unpack into gigabytes.
        plane = packed if size == length else zlib.decompressobj().decompress(packed, length or 1)
        if len(plane) != length:
            raise Damaged("a block of another length")
        yield np.frombuffer(plane, np.uint8)
