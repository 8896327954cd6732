"""Questions to a sweep's store: rows, pivots, curves, data frames; read anew for every question."""

import json
import sqlite3
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.extras import needed
from undertow.sweeping.naming import meant
from undertow.sweeping.store import DONE, FAILED, WAITING, reading
from undertow.sweeping.sums import damaged_cells
from undertow.tables import arrow, of_rows

Row = dict[str, Any]
Array = NDArray[np.float64]

MEANS: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
    "max": max,
    "std": lambda values: statistics.stdev(values) if len(values) > 1 else 0.0,
    "count": len,
}


@dataclass(frozen=True)
class Pivot:
    """A value over two settings.

    Attributes:
        rows, columns: the settings' values, ascending where they are numbers.
        values: [rows, columns]; NaN where there is no cell.
        counts: cells behind each value, [rows, columns].
    """

    rows: list[Any]
    columns: list[Any]
    values: Array
    counts: NDArray[np.int64]


class StoredCells:
    """The cells in a sweep's store. Every question reads it anew, so a sweep that runs can be watched.

    Args:
        path: of the store.
        keys: of the cells to look at; by default all that were computed by what the store's last sweep did.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no store of a sweep, or from a newer undertow.
    """

    def __init__(self, path: str | Path, keys: Iterable[str] | None = None) -> None:
        self.path = Path(path)
        self._keys = None if keys is None else frozenset(keys)
        self._checked: tuple[tuple[Any, ...], set[Any]] = ((), set())
        try:
            with closing(reading(self.path)) as file:
                found = file.execute("SELECT value FROM meta WHERE name = 'name'").fetchone()
            self.name = str(json.loads(found[0])) if found else self.path.stem
        except (TypeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError, sqlite3.DatabaseError) as error:
            raise ValueError(f"{self.path} is damaged (its name can't be read): restore it from a copy") from error

    def __repr__(self) -> str:
        counted = self.counts()
        return f"<Results of {self.name!r}: {', '.join(f'{n} {status}' for status, n in counted.items() if n)}>"

    def counts(self) -> dict[str, int]:
        """Return how many cells are done, failed and waiting."""
        counted = dict.fromkeys((DONE, FAILED, WAITING), 0)
        for row in self._read("status"):
            counted[row[0]] += 1
        return counted

    def seconds(self) -> float:
        """Time that the finished cells have taken, each on one thread."""
        return sum(seconds or 0.0 for (seconds,) in self._read("seconds"))

    def rows(self, status: str | None = DONE, **where: Any) -> list[Row]:
        """One mapping for each cell, its settings and then its results, in the order they were asked for.

        Args:
            status: "done", "failed" (with ``error`` and ``traceback``) or "waiting"; None for all, with ``status``.
            where: values of settings, or lists of values, that cells must have: ``depth=10, activation=["tanh"]``.

        Raises:
            ValueError: no cell has a setting of that name.
        """
        return [row for _, row in self._rows(status, where)]

    def settings(self) -> dict[str, list[Any]]:
        """Return every setting's values, ascending where they are numbers; those with several were swept."""
        found: dict[str, dict[Any, None]] = {}
        for (settings,) in self._read("settings"):
            for name, value in json.loads(settings).items():
                found.setdefault(name, {})[_hashable(value)] = None
        return {name: in_order(values) for name, values in found.items()}

    def swept(self) -> dict[str, list[Any]]:
        """Return the settings that differ between cells, with their values."""
        return {name: values for name, values in self.settings().items() if len(values) > 1}

    def failed(self) -> list[Row]:
        """Return the cells that failed, each with ``error``, ``traceback`` and ``attempts``."""
        return self.rows(FAILED)

    def pivot(self, rows: str, columns: str, value: str, how: str = "mean", **where: Any) -> Pivot:
        """Return a result over two settings, the others averaged over.

        Args:
            rows, columns: settings.
            value: a result, a number (true counts as 1).
            how: "mean", "median", "min", "max", "std" or "count" of the cells that fall together.
            where: as in `rows`.

        Raises:
            ValueError: no such setting, result or way.
        """
        groups = self._groups(value, (rows, columns), how, where)
        down, across = (in_order(dict.fromkeys(key[i] for key in groups)) for i in (0, 1))
        values, counts = np.full((len(down), len(across)), np.nan), np.zeros((len(down), len(across)), np.int64)
        for (one, other), found in groups.items():
            place = down.index(one), across.index(other)
            values[place], counts[place] = MEANS[how](found), len(found)
        return Pivot(down, across, values, counts)

    def curve(self, x: str, value: str, by: str | None = None, **where: Any) -> list[Row]:
        """Return a result along one setting, for each value of another: rows with mean, low, high (min, max) and count.

        Args and errors: as `pivot`.
        """
        groups = self._groups(value, (x, by) if by else (x,), "mean", where)
        rows = [
            {x: key[0], **({by: key[1]} if by else {}), "mean": statistics.fmean(found), "low": min(found),
             "high": max(found), "count": len(found)}
            for key, found in groups.items()
        ]  # fmt: skip
        places = {each: i for i, each in enumerate(in_order(dict.fromkeys(row[x] for row in rows)))}
        return sorted(rows, key=lambda row: (str(row.get(by, "")) if by else "", places[row[x]]))

    def arrow(self, status: str | None = DONE, **where: Any) -> Any:
        """Return the rows as a ``pyarrow.Table``; a column that some cells don't have is null there.

        Raises:
            ImportError: pyarrow isn't installed.
        """
        return arrow(of_rows(self.rows(status, **where)))

    def frame(self, status: str | None = DONE, **where: Any) -> Any:
        """Return the rows as a ``pandas.DataFrame``.

        Raises:
            ImportError: pandas isn't installed.
        """
        return needed("pandas", "tables", "a data frame").DataFrame(of_rows(self.rows(status, **where)))

    def _groups(
        self, value: str, names: Sequence[str], how: str, where: Mapping[str, Any]
    ) -> dict[tuple[Any, ...], list[float]]:
        if how not in MEANS:
            raise ValueError(f"there is no way {how!r} to put values together: {meant(how, list(MEANS))}")
        groups: dict[tuple[Any, ...], list[float]] = {}
        results: set[str] = set()
        for settings, row in self._rows(DONE, where):
            _check_known(names, list(settings), "setting")
            results |= row.keys() - settings.keys()
            if isinstance(row.get(value), bool | int | float):
                groups.setdefault(tuple(_hashable(settings[n]) for n in names), []).append(float(row[value]))
        if not groups and results:
            _check_known([value], sorted(results), "result")
        return groups

    def _rows(self, status: str | None, where: Mapping[str, Any]) -> Iterator[tuple[Row, Row]]:
        wanted = {name: [_hashable(v) for v in _as_list(value)] for name, value in where.items()}
        for of, settings, result, error, traceback, attempts in self._read(
            "status, settings, result, error, traceback, attempts", status
        ):
            named = json.loads(settings)
            _check_known(wanted, list(named), "setting")
            if all(_hashable(named[name]) in values for name, values in wanted.items()):
                row = {**named, **(json.loads(result) if result else {})}
                if of == FAILED:
                    row |= {"error": error, "traceback": traceback, "attempts": attempts}
                yield named, row if status else {**row, "status": of}

    def _read(self, columns: str, status: str | None = None) -> Iterator[tuple[Any, ...]]:
        """Columns of the cells looked at, in order."""
        condition = "work = (SELECT json_extract(value, '$') FROM meta WHERE name = 'work')"
        if status:
            condition += " AND status = ?"
        query = f"SELECT key, {columns} FROM cells WHERE {condition} ORDER BY number"  # noqa: S608  our own words
        with closing(reading(self.path)) as file:
            try:
                file.execute("BEGIN")  # cells and their sums of one moment, while somebody writes
                damaged = self._damaged(file)
                for key, *row in file.execute(query, (status,) if status else ()):
                    if key not in damaged and (self._keys is None or key in self._keys):
                        yield tuple(row)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                raise ValueError(f"{self.path} is damaged ({error}): restore it from a copy") from error

    def _damaged(self, file: sqlite3.Connection) -> set[Any]:
        """Return the keys of cells that are not as they were written; looked for anew when the file has changed."""
        paths = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        stamp = tuple((each.stat().st_size, each.stat().st_mtime_ns) for each in paths if each.exists())
        if self._checked[0] != stamp:
            try:
                found = damaged_cells(file)
            except ValueError as error:
                raise ValueError(f"{self.path} is damaged ({error}): restore it from a copy") from error
            if found and not self._checked[1]:
                what = "1 of its cells is" if len(found) == 1 else f"{len(found):,} of its cells are"
                text = f"{self.path} is damaged: {what} left out; the sweep that made it computes them anew"
                warnings.warn(text, RuntimeWarning, stacklevel=5)
            self._checked = stamp, found
        return self._checked[1]


def in_order(values: Iterable[Any]) -> list[Any]:
    """Numbers ascending, other things as they came.

    Example:
        >>> in_order([3, 1.5, 2]), in_order(["tanh", "relu"])
        ([1.5, 2, 3], ['tanh', 'relu'])
    """
    listed = list(values)
    return sorted(listed) if all(isinstance(v, int | float) for v in listed) else listed


def filled(rows: Sequence[Row]) -> list[Row]:
    """Rows that all have the same names, None where one had nothing.

    Example:
        >>> filled([{"a": 1}, {"b": 2}])
        [{'a': 1, 'b': None}, {'a': None, 'b': 2}]
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def _check_known(names: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"the cells have no {what} {name!r}: {meant(name, known)}")


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _hashable(value: Any) -> Any:
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list) else value
