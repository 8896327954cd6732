"""A sweep's results: one SQLite file, written by the sweep alone, readable by anybody while it grows."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from undertow.sweeping.cells import CellOutcome
from undertow.sweeping.spec import Settings

FORMAT = 1
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
        with self._writing():
            first = self._file.execute("SELECT coalesce(max(number), -1) + 1 FROM cells").fetchone()[0]
            self._file.executemany(
                "INSERT OR IGNORE INTO cells (key, number, work, settings, status) VALUES (?, ?, ?, ?, 'waiting')",
                ((key, first + i, work, _json(settings)) for i, (key, settings) in enumerate(cells)),
            )

    def write(self, finished: Iterable[Finished]) -> None:
        """Keep what became of cells, all of them or none."""
        now = time.time()
        with self._writing():
            self._file.executemany(
                "UPDATE cells SET status = ?, result = ?, error = ?, traceback = ?, attempts = ?, together = ?, "
                "seconds = ?, finished = ? WHERE key = ?",
                (
                    (
                        DONE if f.outcome.error is None else FAILED,
                        None if f.outcome.result is None else _json(f.outcome.result),
                        f.outcome.error, f.outcome.traceback, f.attempts, f.together, f.seconds, now, f.key,
                    )
                    for f in finished
                ),
            )  # fmt: skip

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
        except BaseException:
            with suppress(sqlite3.Error):
                self._file.execute("ROLLBACK")
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
        found = file.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        file.close()
        raise ValueError(f"{path} is no store of a sweep ({error}): give another name") from error
    _check_format(path, file, found)
    return file


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
        return file
    except sqlite3.OperationalError as error:
        raise OSError(f"can't write the store {path}: {error}") from error


def _make(path: Path) -> None:
    """Under another name first, so that no reader ever meets half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as file:
            file.executescript(TABLES)
            file.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_format(path: Path, file: sqlite3.Connection, found: tuple[str] | None) -> None:
    if found is None or int(found[0]) > FORMAT:  # ours has the format from the first moment
        file.close()
        raise ValueError(f"{path} was written by a newer undertow: update this one to go on with it")


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


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
