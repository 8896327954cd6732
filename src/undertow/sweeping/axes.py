"""Values that a setting takes in a sweep: listed, spaced over a range, or drawn at random."""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.sweeping.naming import check_keys

SPACINGS = ("linear", "log")
DIGITS = 12
"""Significant digits of a value between the ends of a range: enough, and free of the noise of rounding."""


MOST_VALUES = 1_000_000


def values(name: str, given: Any) -> list[Any]:
    """Return the values of one axis of a grid.

    Args:
        name: the setting, for messages.
        given: a list of values; or a table ``{from, to, count}`` with ``spacing = "log"`` and ``integer = true`` where
            wanted; both ends belong to the range.

    Raises:
        ValueError: an empty list, or a range that makes no sense.

    Example:
        >>> values("eta", {"from": 0.01, "to": 1.0, "count": 3, "spacing": "log"})
        [0.01, 0.1, 1.0]
        >>> values("depth", {"from": 1, "to": 10, "count": 4, "spacing": "log", "integer": True})
        [1, 2, 5, 10]
    """
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError(f"{name} = []: an axis without values makes a sweep without cells; give it at least one")
        return list(given)
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{name} = {given!r} is one value, not an axis: move it to [cell], or write {name} = [{given!r}]"
        )
    low, high, log, integer = _range(name, given, ("from", "to", "count", "spacing", "integer"))
    count = given.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_VALUES:
        raise ValueError(
            f"{name}: count = {count!r}; a range needs to know how many values, 1 to {MOST_VALUES:,}, as in count = 10"
        )
    spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return list(dict.fromkeys(_tidied(float(v), integer) for v in spaced))


def draw(name: str, given: Any, seed: int, number: int) -> Any:
    """One random value of an axis: draw ``number`` of those from ``seed``, whatever other axes and draws there are.

    Args:
        name: the setting; axes are drawn independently.
        given: a list to choose from, or a table ``{from, to}`` with ``spacing`` and ``integer``.
        seed, number: which draw.

    Raises:
        ValueError: an empty list, or a range that makes no sense.

    Example:
        >>> drawn = [draw("eta", {"from": 0.01, "to": 1.0, "spacing": "log"}, 0, i) for i in range(500)]
        >>> round(sum(v < 0.1 for v in drawn) / 500, 1), draw("eta", [5], 0, 0)
        (0.5, 5)
    """
    # crc32 and not hash(), which differs from process to process.
    key = np.random.SeedSequence(seed, spawn_key=(number, zlib.crc32(name.encode())))
    generator = np.random.default_rng(key)
    if isinstance(given, list | tuple):
        options: Sequence[Any] = values(name, given)
        return options[int(generator.integers(len(options)))]
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} = {given!r} is one value, nothing to draw from: move it to [cell]")
    low, high, log, integer = _range(name, given, ("from", "to", "spacing", "integer"))
    if integer:
        # Up to just below high + 1, so that int() gives the last number as often as the others.
        return int(_between(generator.random(), low, high + 1 - 1e-9, log))
    return _tidied(_between(generator.random(), low, high, log), integer=False)


def _between(share: float, low: float, high: float, log: bool) -> float:
    return float(low * (high / low) ** share) if log else float(low + (high - low) * share)


def _range(name: str, given: Mapping[str, Any], known: Sequence[str]) -> tuple[float, float, bool, bool]:
    check_keys(given, known, f"the range of {name}")
    spacing, ends = given.get("spacing", "linear"), [given.get("from"), given.get("to")]
    low, high = (float(end) if isinstance(end, int | float) and abs(end) < 1e300 else math.nan for end in ends)
    if not math.isfinite(low + high):
        raise ValueError(f"{name}: from = {ends[0]!r}, to = {ends[1]!r}; both ends of a range are numbers")
    if spacing not in SPACINGS:
        raise ValueError(f"{name}: spacing = {spacing!r}; there are: {', '.join(SPACINGS)}")
    if spacing == "log" and min(low, high) <= 0:
        raise ValueError(f"{name}: a logarithmic range from {low} to {high}; both ends must be positive")
    return low, high, spacing == "log", bool(given.get("integer", False))


def _tidied(value: float, integer: bool) -> float | int:
    return round(value) if integer else float(f"{value:.{DIGITS}g}")
