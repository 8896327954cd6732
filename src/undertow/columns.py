"""Numbers by name: what a `Run` consists of, in memory, in JSON, and left in a file until somebody asks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.jsonable import jsonable

Column = NDArray[np.floating]
Columns = Mapping[str, Column]
"""Columns by name: a dict, or a mapping that reads each from a file when it is asked for."""


class StoredColumns(Mapping[str, Column]):
    """Columns that lie in a file: each is read when it is first asked for, and kept.

    Attributes:
        shapes: of every column, known without reading it.

    Example:
        >>> columns = StoredColumns({"dead": (2, 1)}, lambda name: np.zeros((2, 1)))
        >>> columns["dead"].tolist()
        [[0.0], [0.0]]
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Column]) -> None:
        self.shapes, self._read = dict(shapes), read
        self._known: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._known:
            if name not in self.shapes:
                raise KeyError(name)
            self._known[name] = self._read(name)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def column_shapes(columns: Columns) -> Mapping[str, tuple[int, ...]]:
    """The shape of every column, without reading any."""
    if isinstance(columns, StoredColumns):
        return columns.shapes
    return {name: column.shape for name, column in columns.items()}


def check_columns(columns: Columns, known: Mapping[str, str], width: int, of: str) -> None:
    """Raise ValueError unless every name is known and every column [rows, ``width``]."""
    for name, shape in column_shapes(columns).items():
        if name not in known:
            raise ValueError(f"no column of {of} is named {name!r}; there are: {', '.join(known)}")
        if len(shape) != 2 or shape[1] != width:
            raise ValueError(f"column {name!r} has shape {shape}, but must be [steps, {of}] with {width} {of}")


def row_counts(columns: Columns) -> list[int]:
    """The number of rows of every column, read from nowhere but its shape."""
    return [shape[0] for shape in column_shapes(columns).values()]


def check_rows(what: str, *groups: Columns) -> None:
    """Raise ValueError unless all columns have the same number of rows."""
    lengths = {rows for group in groups for rows in row_counts(group)}
    if len(lengths) > 1:
        raise ValueError(f"columns of one run disagree on the number of {what}: {sorted(lengths)}")


def same_columns(ours: Columns, theirs: Columns) -> bool:
    """Tell whether names, types and numbers are equal; nan equals nan."""
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and np.array_equal(ours[name], theirs[name], equal_nan=True)
        for name in ours
    )


def encode(columns: Columns) -> dict[str, Any]:
    """As JSON values."""
    return {
        name: {"dtype": str(column.dtype), "shape": list(column.shape), "values": _numbers(column.ravel())}
        for name, column in columns.items()
    }


def _numbers(values: Column) -> list[float | str | None]:
    if np.isfinite(values).all():
        return values.astype(float).tolist()
    found: list[float | str | None] = jsonable(values.astype(float), infinite=True)
    return found
