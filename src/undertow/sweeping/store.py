"""A sweep's results: one SQLite file, written by the sweep alone, readable by anybody while it grows."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from undertow.files import fresh_part
from undertow.printable import printable, shortened, told
from undertow.sweeping import sums
from undertow.sweeping.cells import CellOutcome
from undertow.sweeping.spec import Settings

FORMAT = 2
"""Raised when more is written than older readers know of: 2 since every record has a sum."""

WAITING, DONE, FAILED = "waiting", "done", "failed"

TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY,
    number INTEGER NOT NULL,      -- order in which it was asked for
    work TEXT NOT NULL,           -- lab, or which function in which version
    settings TEXT NOT NULL,       -- JSON
    status TEXT NOT NULL,         -- waiting, done or failed
    result TEXT,                  -- JSON, once done
    error TEXT, traceback TEXT,   -- once failed
    attempts INTEGER NOT NULL DEFAULT 0,
    together INTEGER,             -- cells in the pack it was computed in
    seconds REAL,                 -- its share of the pack's time
    finished REAL                 -- when, seconds since 1970
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cells_by_status ON cells (status);
"""
SUMS = "CREATE TABLE sums (name TEXT PRIMARY KEY, sum INTEGER NOT NULL) WITHOUT ROWID"

MOST_RESULT = 64 << 20
"""Bytes of a cell's result, as JSON."""

_MOST_BYTES = 256 << 20


class StoreFullError(OSError):
    """The store can't be written to any more; what was written before is kept.

    Example:
        >>> issubclass(StoreFullError, OSError)
        True
    """


class Finished(NamedTuple):
    """A cell that is over: what became of it, after how many attempts, with how many others, in which time."""

    key: str
    outcome: CellOutcome
    attempts: int
    together: int
    seconds: float


class Store:
    """The store of a sweep that runs: this process, and no other, writes into it.

    Args:
        path: of the SQLite file, made if it isn't there.

    Attributes:
        mended: how many cells were damaged and are forgotten, so that they are computed anew.

    Raises:
        RuntimeError: another sweep is working on it.
        ValueError: the file is something else, or from a newer undertow.
        OSError: it can't be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder, "a.sweep")) as store:
        ...     store.plan("lab", [("k1", {"depth": 1}), ("k2", {"depth": 2})])
        ...     store.write([Finished("k1", CellOutcome({"accuracy": 0.5}), 1, 1, 0.1)])
        ...     store.count("done"), store.keys("done")
        (1, {'k1'})
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path)
        try:
            self._file = _opened(path)
            self.mended = self._without_damage()
            self.note("holder", f"process {os.getpid()} on {socket.gethostname()}")
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, work: str, cells: Iterable[tuple[str, Settings]]) -> None:
        """Note keys and settings of cells that are to be computed; those that are there already stay as they are."""
        there = {key for (key,) in self._file.execute("SELECT key FROM cells")}
        with self._writing():
            first = self._file.execute("SELECT coalesce(max(number), -1) + 1 FROM cells").fetchone()[0]
            new = [(key, first + i, work, _json(s)) for i, (key, s) in enumerate(cells) if key not in there]
            put = "INSERT OR IGNORE INTO cells (key, number, work, settings, status) VALUES (?, ?, ?, ?, 'waiting')"
            self._file.executemany(put, new)
            sums.keep_cells(self._file, (key for key, *_ in new))

    def write(self, finished: Iterable[Finished]) -> None:
        """Keep what became of cells, all of them or none. A result that no store can hold is its cell's failure."""
        rows = [_record(each, time.time()) for each in finished]
        with self._writing():
            self._file.executemany(
                "UPDATE cells SET status = ?, result = ?, error = ?, traceback = ?, attempts = ?, together = ?, "
                "seconds = ?, finished = ? WHERE key = ?",
                rows,
            )
            sums.keep_cells(self._file, (row[-1] for row in rows))

    def _without_damage(self) -> int:
        try:
            damaged = sums.damaged_cells(self._file)
        except (ValueError, sqlite3.DatabaseError) as error:
            raise ValueError(
                f"{self.path} is damaged ({error}): restore it from a copy, or give another --store"
            ) from (error)
        with self._writing():
            self._file.executemany("DELETE FROM cells WHERE key = ?", ((key,) for key in damaged))
            self._file.executemany("DELETE FROM sums WHERE name = ?", ((f"cell {key}",) for key in damaged))
        return len(damaged)

    def keys(self, status: str) -> set[str]:
        """Keys of all cells of a status."""
        return {key for (key,) in self._file.execute("SELECT key FROM cells WHERE status = ?", (status,))}

    def outcomes(self, keys: Iterable[str]) -> dict[str, tuple[Any, str | None]]:
        """Results and errors of cells that are over, by key."""
        wanted = set(keys)
        rows = self._file.execute("SELECT key, result, error FROM cells WHERE status != 'waiting'")
        return {key: (result and json.loads(result), error) for key, result, error in rows if key in wanted}

    def count(self, status: str) -> int:
        """Return how many cells have a status."""
        row = self._file.execute("SELECT count(*) FROM cells WHERE status = ?", (status,)).fetchone()
        return int(row[0])

    def note(self, name: str, value: Any) -> None:
        """Keep something about the whole sweep."""
        with self._writing():
            self._file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, _json(value)))
            sums.keep_note(self._file, name, _json(value))

    def noted(self, name: str) -> Any:
        """Return what `note` kept, or None."""
        row = self._file.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def close(self) -> None:
        """Leave one whole file behind."""
        with suppress(sqlite3.Error):  # readers may hold the log, or the disk be full: it then stays beside the file
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._file.close()
        self._lock.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._file.execute("BEGIN IMMEDIATE")
            yield
            self._file.execute("COMMIT")
        except sqlite3.OperationalError as error:
            with suppress(sqlite3.Error):
                self._file.execute("ROLLBACK")
            # The low byte is the kind; the rest says which operation of the kind it was.
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
                raise StoreFullError(
                    f"can't write into {self.path} any more ({error}): what was written before is kept; free some "
                    "space and give the same command again, it goes on from there"
                ) from error
            raise
        except BaseException as error:
            with suppress(sqlite3.Error):
                self._file.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError):
                advice = "restore it from a copy, or give another --store"
                raise ValueError(f"{self.path} is damaged ({error}): {advice}") from error
            raise


def reading(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads, also while a sweep writes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no store of a sweep, or from a newer undertow.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: give the store that `undertow sweep` wrote")
    file = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        file.execute("PRAGMA trusted_schema = OFF")
        _check(path, file)
    except sqlite3.DatabaseError as error:
        file.close()
        raise ValueError(f"{path} is no store of a sweep ({error}): give another name") from error
    except BaseException:
        file.close()
        raise
    return file


def _check(path: Path, file: sqlite3.Connection) -> None:
    """Take a file for a store only if its tables are the ones written here, to the letter: no view, and no trigger."""
    try:
        tables = {sql for (sql,) in file.execute("SELECT sql FROM sqlite_master") if sql}
    except UnicodeDecodeError:
        tables = set()
    if tables not in (_tables(TABLES), _tables(f"{TABLES}{SUMS};")):
        raise ValueError(f"{path} is no store of a sweep, or was changed by another program: give another name")
    found = file.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if found is None or not str(found[0]).isdecimal() or int(found[0]) > FORMAT:
        raise ValueError(f"{path} was written by a newer undertow: update this one to go on with it")


@cache
def _tables(script: str) -> set[str]:
    with closing(sqlite3.connect(":memory:")) as file:
        file.executescript(script)
        return {sql for (sql,) in file.execute("SELECT sql FROM sqlite_master") if sql}


def _opened(path: Path) -> sqlite3.Connection:
    """Return the file of a store for writing, made if it isn't there."""
    try:
        if not path.exists():
            _make(path)
        file = reading(path)
        file.close()
        file = sqlite3.connect(path, isolation_level=None, timeout=30)
        with suppress(sqlite3.OperationalError):  # not on a network's file system; the usual journal does there, too
            file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        _summed(file)
        return file
    except sqlite3.OperationalError as error:
        raise OSError(f"can't write the store {path}: {error}") from error


def _summed(file: sqlite3.Connection) -> None:
    """Begin to keep sums in a store of an older undertow."""
    if not sums.are_kept(file):
        file.execute("BEGIN IMMEDIATE")
        file.execute(SUMS)
        file.execute("UPDATE meta SET value = ? WHERE name = 'format'", (str(FORMAT),))
        sums.keep_all(file)
        file.execute("COMMIT")


def _make(path: Path) -> None:
    """Under another name first, so that no reader ever meets half of it."""
    part = fresh_part(path)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as file:
            file.executescript(f"{TABLES}{SUMS};")
            file.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
            sums.keep_all(file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _locked(path: Path) -> sqlite3.Connection:
    """Return a lock that the system takes back when this process dies: a transaction on a file of its own."""
    lock = sqlite3.connect(path.with_name(f".{path.name}.lock"), isolation_level=None, timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise OSError(f"can't write beside the store {path}: {error}") from error
        raise RuntimeError(
            f"another sweep is working on {path}{_holder(path)}: wait for it, stop it, or give this one another --store"
        ) from error
    return lock


def _holder(path: Path) -> str:
    with suppress(sqlite3.Error, OSError, ValueError), closing(reading(path)) as file:
        found = file.execute("SELECT value FROM meta WHERE name = 'holder'").fetchone()
        return f" ({json.loads(found[0])})" if found else ""
    return ""


def _record(finished: Finished, now: float) -> tuple[Any, ...]:
    """Return what is kept of a cell. What can't be, a driver must not end of: its neighbours have been computed."""
    result, error, trace = finished.outcome
    text = None
    if error is None:
        try:
            text = _json(result)
            text.encode()
            if len(text) > MOST_RESULT:
                error = f"its result takes {len(text) / 1e6:,.0f} MB as JSON: {MOST_RESULT / 1e6:,.0f} MB are the most"
        except (ValueError, TypeError, RecursionError) as broken:
            error = f"its result can not be kept: {told(broken)}"
    kept = (text, None, None) if error is None else (None, _words(error), None if trace is None else _words(trace))
    numbers = (finished.attempts, finished.together, float(finished.seconds), now)
    return (DONE if error is None else FAILED, *kept, *numbers, finished.key)


def _words(text: str) -> str:
    return shortened(printable(text, lines=True))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
