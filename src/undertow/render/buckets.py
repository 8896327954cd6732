"""A long series in few pieces, each with its smallest and its largest value, kept up to date as rows arrive.

Averages would hide what matters in a training run: the one step in ten thousand that spiked. So a bucket keeps its
extremes. When all buckets are full, neighbours are merged and every bucket stands for twice as many rows: memory and
the work per row stay the same however long the run grows.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.floating]


class Buckets:
    """The extremes of series that share their steps.

    Args:
        width: how many series.
        capacity: buckets at most; even.

    Attributes:
        rows: rows taken in so far.
        stride: rows in every bucket but the last.
        latest: the last value of each series, [series].

    Example:
        >>> series = Buckets(1, capacity=4)
        >>> series.add(range(8), np.array([[3.0], [1], [4], [1], [5], [9], [2], [6]]))
        >>> series.low[:, 0].tolist(), series.high[:, 0].tolist(), series.first.tolist()
        ([1.0, 1.0, 5.0, 2.0], [3.0, 4.0, 9.0, 6.0], [0.0, 2.0, 4.0, 6.0])
    """

    def __init__(self, width: int, capacity: int = 512) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"neighbours are merged, so capacity must be even and 2 or more, not {capacity}")
        self.rows, self.stride = 0, 1
        self.latest: Numbers = np.full(width, np.nan, np.float32)
        self._capacity = capacity
        self._ends = np.full((2, capacity), np.nan)
        self._extremes = np.full((2, capacity, width), np.nan, np.float32)

    @property
    def count(self) -> int:
        """Buckets in use."""
        return -(-self.rows // self.stride)

    @property
    def first(self) -> Numbers:
        """The first step in each bucket, [buckets]."""
        return self._ends[0, : self.count]

    @property
    def last(self) -> Numbers:
        """The last step in each bucket, [buckets]."""
        return self._ends[1, : self.count]

    @property
    def low(self) -> Numbers:
        """The smallest value in each bucket, [buckets, series]; NaN where there was none."""
        return self._extremes[0, : self.count]

    @property
    def high(self) -> Numbers:
        """The largest value in each bucket, [buckets, series]; NaN where there was none."""
        return self._extremes[1, : self.count]

    def add(self, steps: Sequence[float] | range | Numbers, values: ArrayLike) -> None:
        """Take in rows that follow those before; ``values``: [rows, series], NaN where there is nothing."""
        with np.errstate(over="ignore"):  # what is too large for a picture is infinite there
            values = np.asarray(values, np.float32)
        steps = np.asarray(steps, float)
        if not len(steps):
            return
        while (self.rows + len(steps) - 1) // self.stride >= self._capacity:
            self._merge_neighbours()
        place = (self.rows + np.arange(len(steps))) // self.stride
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        used, ends = place[starts], np.append(starts[1:], len(steps)) - 1
        for k, extreme in enumerate((np.fmin, np.fmax)):
            reduced = extreme.reduceat(values, starts, axis=0)
            self._extremes[k, used] = extreme(self._extremes[k, used], reduced)
        self._ends[0, used] = np.fmin(self._ends[0, used], steps[starts])
        self._ends[1, used] = steps[ends]
        self.rows += len(steps)
        self._keep_latest(values)

    def _keep_latest(self, values: Numbers) -> None:
        there = ~np.isnan(values)
        place = len(values) - 1 - np.argmax(there[::-1], axis=0)
        seen = np.flatnonzero(there.any(axis=0))
        self.latest[seen] = values[place[seen], seen]

    def _merge_neighbours(self) -> None:
        half = self._capacity // 2
        for k, extreme in enumerate((np.fmin, np.fmax)):
            pairs = self._extremes[k].reshape(half, 2, -1)
            self._extremes[k, :half] = extreme(pairs[:, 0], pairs[:, 1])
            ends = self._ends[k].reshape(half, 2)
            self._ends[k, :half] = extreme(ends[:, 0], ends[:, 1])
        self._extremes[:, half:], self._ends[:, half:] = np.nan, np.nan
        self.stride *= 2

    def to_dict(self, kept: ArrayLike | None = None) -> dict[str, Any]:
        """For a page: steps, and the extremes of the series that are ``kept`` (a mask; all unless told), packed."""
        chosen = slice(None) if kept is None else np.asarray(kept)
        low, high = self.low[:, chosen], self.high[:, chosen]
        packed_low = packed(low.T)
        same = np.array_equal(low, high, equal_nan=True)
        steps = {"first": packed(self.first, "f8"), "last": packed(self.last, "f8")}
        return {**steps, "low": packed_low, "high": None if same else packed(high.T), "stride": self.stride}


def packed(values: ArrayLike, kind: str = "f4") -> str:
    """Numbers as base64 of little-endian bytes: JSON has no inf, and a page of a million numbers must stay small.

    Example:
        >>> packed([1.0, 2.0])
        'AACAPwAAAEA='
    """
    return base64.b64encode(np.ascontiguousarray(values, f"<{kind}").tobytes()).decode()
