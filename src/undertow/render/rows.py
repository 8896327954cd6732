"""Observations on their way into a figure: plain JSON values, thinned, grouped, and numbers as a reader wants them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Rows = Iterable[Row]

MINUS = "\u2212"
DASH = "\u2013"


def plain(rows: Rows, positive: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Rows as JSON has them: NumPy scalars unwrapped, floats to five digits, what isn't finite None.

    Args:
        rows: any mappings.
        positive: fields that become None too where they aren't above zero, because their axis is logarithmic.

    Example:
        >>> plain([{"a": np.float32(1 / 3), "b": np.int64(2), "c": float("nan"), "d": 0.0}], positive=["d"])
        [{'a': 0.33333, 'b': 2, 'c': None, 'd': None}]
    """
    table = [{key: _plain(value) for key, value in row.items()} for row in rows]
    for field in positive:
        for row in table:
            value = row.get(field)
            row[field] = value if value is not None and value > 0 else None
    return table


def grouped(table: Rows, fields: Iterable[str | None]) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by what they have in ``fields`` (None is passed over), in order of appearance.

    Example:
        >>> grouped([{"layer": 1}, {"layer": 2}, {"layer": 1}], ["layer", None])
        {(1,): [{'layer': 1}, {'layer': 1}], (2,): [{'layer': 2}]}
    """
    named = [field for field in fields if field]
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in table:
        groups[tuple(row.get(field) for field in named)].append(row)
    return dict(groups)


def thinned(table: Rows, by: Iterable[str | None], most: int) -> list[Row]:
    """At most ``most`` rows of each group, evenly spaced, first and last among them.

    Example:
        >>> [row["epoch"] for row in thinned([{"epoch": e} for e in range(101)], [], most=5)]
        [0, 25, 50, 75, 100]
    """
    kept: list[Row] = []
    for group in grouped(table, by).values():
        places = np.linspace(0, len(group) - 1, min(most, len(group))).round().astype(int)
        kept += [group[i] for i in places]
    return kept


def column(table: Iterable[Row], *fields: str | None) -> list[float]:
    """Every number there is in ``fields``.

    Example:
        >>> column([{"low": 1.0, "high": None}, {"low": 2.0, "high": 3.0}], "low", "high", None)
        [1.0, 2.0, 3.0]
    """
    return [row[f] for row in table for f in fields if f and row.get(f) is not None]


def number(value: float) -> str:
    """A number as a reader wants it: three digits, a power of ten only where it must be.

    Example:
        >>> [number(v) for v in (0.0023719, 96.48, 12345, -4.2e-7, 0, float("nan"))]
        ['0.00237', '96.5', '12,345', '−4.2×10⁻⁷', '0', 'not finite']
    """
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-4 <= abs(value) < 1e3:
        text = f"{value:.3g}"
    elif 1e3 <= abs(value) < 1e6:
        text = f"{value:,.0f}"
    else:
        mantissa, exponent = f"{value:.2e}".split("e")
        shortened = mantissa.rstrip("0").rstrip(".")
        text = f"{shortened}\u00d710{str(int(exponent)).translate(_RAISED)}"
    return text.replace("-", MINUS)


def aligned(values: Sequence[float]) -> list[str]:
    """A column of numbers: equally many decimals for all where they are of one size, otherwise ``number`` for each.

    Example:
        >>> aligned([96.46, 96.9, float("nan")]), aligned([0.0024, 0.31])
        (['96.46', '96.90', 'not finite'], ['0.0024', '0.31'])
    """
    finite = [v for v in values if math.isfinite(v)]
    sizes = [abs(v) for v in finite if v] or [0.0]
    decimals = max((len(f"{v:.4g}".partition(".")[2]) for v in finite), default=0)
    if not (min(sizes) >= 1e-4 and max(sizes) < min(100 * min(sizes), 1e6)):
        return [number(v) for v in values]
    return [f"{v:,.{decimals}f}".replace("-", MINUS) if math.isfinite(v) else number(v) for v in values]


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        shorter = float(f"{value:.5g}")  # the largest floats round to infinity
        return shorter if math.isfinite(shorter) else value if math.isfinite(value) else None
    return value
