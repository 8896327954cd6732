"""Rows about parameters: one set of names, or several where the set changed on the way."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from undertow.columns import Column
from undertow.store.packing import Damaged
from undertow.store.series import StoredSeries

_STEPS = ("parameter_steps", "")


class Parameters:
    """All rows about parameters that came after the first so many of each set.

    Attributes:
        names: of all of them, in the order in which they appeared.
        shapes: of every column.
    """

    def __init__(self, found: Sequence[tuple[str, StoredSeries]], first: Sequence[int] = ()) -> None:
        self._sets = [(_names(about), series) for about, series in found]
        self._first = [*first, *[0] * (len(found) - len(first))]
        self.names = tuple(dict.fromkeys(name for names, _ in self._sets for name in names))
        self._places = {name: place for place, name in enumerate(self.names)}
        rows = sum(max(series.rows - first, 0) for (_, series), first in zip(self._sets, self._first, strict=False))
        columns = [name for names, series in self._sets for name in series.names("parameter_columns", len(names))]
        self.shapes = dict.fromkeys(columns, (rows, len(self.names)))

    def read(self, name: str) -> Column:
        """Read one column, [rows, parameters]: rows by step, where there is more than one set."""
        parts = [
            self._spread(names, series, first, name)
            for (names, series), first in zip(self._sets, self._first, strict=False)
        ]
        together = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return together if len(parts) == 1 else together[self._order()]

    def _spread(self, names: Sequence[str], series: StoredSeries, first: int, name: str) -> Column:
        key = "parameter_columns", name
        if key not in series.kept:
            return np.full((max(series.rows - first, 0), len(self.names)), np.nan, np.float32)
        values = series.read(key, first)
        if len(self._sets) == 1:
            return values
        out = np.full((len(values), len(self.names)), np.nan, values.dtype)
        out[:, [self._places[each] for each in names]] = values
        return out

    def steps(self) -> Column:
        """Read the optimizer's steps at the rows."""
        steps = self._steps()
        return steps[self._order()] if len(self._sets) > 1 else steps

    def _steps(self) -> Column:
        parts = [
            series.read(_STEPS, first)[:, 0]
            for (_, series), first in zip(self._sets, self._first, strict=False)
            if series.names("parameter_steps", 1)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self._steps(), kind="stable")


def _names(about: str) -> tuple[str, ...]:
    names = json.loads(about)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Damaged("names of parameters that are none")
    return tuple(names)
