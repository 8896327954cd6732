"""Sums over the records of a sweep's store, which tell that bytes in it are not those that were written."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

COLUMNS = (
    "key", "number", "work", "settings", "status", "result", "error", "traceback", "attempts", "together", "seconds",
    "finished",
)  # fmt: skip
"""Of a cell, in the order in which they are summed."""

_CELLS = f"SELECT {', '.join(COLUMNS)} FROM cells"  # noqa: S608  our own words
_STATUSES = ("waiting", "done", "failed")


def of_record(values: Sequence[Any]) -> int:
    """Return the sum of a record.

    Example:
        >>> of_record(("name", "a")) == of_record(("name", "b"))
        False
    """
    return zlib.crc32(repr(tuple(values)).encode("utf-8", "surrogatepass"))


def are_kept(file: sqlite3.Connection) -> bool:
    """Tell whether a store has sums: one that an older undertow wrote hasn't."""
    return file.execute("SELECT 1 FROM sqlite_master WHERE name = 'sums'").fetchone() is not None


def keep_cells(file: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Write down the sums of cells as they are now, inside a transaction."""
    rows = (file.execute(f"{_CELLS} WHERE key = ?", (key,)).fetchone() for key in keys)
    file.executemany("INSERT OR REPLACE INTO sums VALUES (?, ?)", ((f"cell {row[0]}", of_record(row)) for row in rows))


def keep_note(file: sqlite3.Connection, name: str, value: Any) -> None:
    """Write down the sum of something about the whole sweep, inside a transaction."""
    file.execute("INSERT OR REPLACE INTO sums VALUES (?, ?)", (f"meta {name}", of_record((name, value))))


def keep_all(file: sqlite3.Connection) -> None:
    """Write down the sums of everything, in a store that had none."""
    keep_cells(file, [key for (key,) in file.execute("SELECT key FROM cells").fetchall()])
    for name, value in file.execute("SELECT name, value FROM meta").fetchall():
        keep_note(file, name, value)


def damaged_cells(file: sqlite3.Connection) -> set[Any]:
    """Return the keys of cells that are not as they were written, and of those that are missing.

    Raises:
        ValueError: what is said of the whole sweep is not as it was written.
        sqlite3.Error: the file can't be read.
    """
    if not are_kept(file):
        return {row[0] for row in file.execute(_CELLS) if not _is_cell(row)}
    sums = dict(file.execute("SELECT name, sum FROM sums").fetchall())
    for name, value in file.execute("SELECT name, value FROM meta").fetchall():
        if sums.pop(f"meta {name}", None) != of_record((name, value)):
            raise ValueError(f"what it says of {name} is not what was written")
    return set(_unlike(file, sums))


def _unlike(file: sqlite3.Connection, sums: dict[str, int]) -> Iterator[Any]:
    for row in file.execute(_CELLS):
        if sums.pop(f"cell {row[0]}", None) != of_record(row) or not _is_cell(row):
            yield row[0]
    yield from (name.removeprefix("cell ") for name in sums if str(name).startswith("cell "))
    if any(str(name).startswith("meta ") for name in sums):
        raise ValueError("something that it said of the whole sweep is missing")


def _is_cell(row: Sequence[Any]) -> bool:
    """Tell whether a record can be a cell, sum or no sum."""
    key, number, work, settings, status, result, error, traceback, attempts = row[:9]
    try:
        read = [json.loads(settings), json.loads(result) if result is not None else {}]
    except (TypeError, ValueError, RecursionError):
        return False
    texts = [key, work, status, error or "", traceback or ""]
    return (
        all(isinstance(each, dict) for each in read)
        and all(isinstance(each, str) for each in texts)
        and type(number) is type(attempts) is int
        and status in _STATUSES
        and (result is not None) == (status == "done")
    )
