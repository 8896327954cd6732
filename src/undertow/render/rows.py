"""Prepare observations for a figure: plain JSON values, thinned, grouped."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from undertow.formatting import MINUS, aligned, number
from undertow.jsonable import jsonable

__all__ = ["MINUS", "Row", "Rows", "aligned", "column", "grouped", "number", "plain", "thinned"]

Row = Mapping[str, Any]
Rows = Iterable[Row]


def plain(rows: Rows, positive: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Rows as JSON has them: NumPy scalars unwrapped, floats to five digits, what isn't finite None.

    Args:
        rows: any mappings.
        positive: fields that become None too where they aren't above zero, because their axis is logarithmic.

    Example:
        >>> plain([{"a": np.float32(1 / 3), "b": np.int64(2), "c": float("nan"), "d": 0.0}], positive=["d"])
        [{'a': 0.33333, 'b': 2, 'c': None, 'd': None}]
    """
    table: list[dict[str, Any]] = [jsonable(row, digits=5) for row in rows]
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
