"""`RunFile`: a Run's file, open for writing by one session. It has no thread: `commit` returns when a batch is in."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from undertow.record import Event
from undertow.store.appender import Appender, sizes
from undertow.store.aside import put_aside
from undertow.store.batch import Batch
from undertow.store.database import Journal, create, for_reading, for_writing, identity, session, settle
from undertow.store.errors import StoreError
from undertow.store.packing import BROKEN
from undertow.store.rewinding import progress, rewind
from undertow.store.saving import meta
from undertow.store.series import SCALARS, TAPED, StoredSeries, explored


class WritingEnded(Exception):  # noqa: N818  # the end of recording, not of training
    """The file is out of reach for good."""


class RunFile:
    """A file open for writing, as one session of a Run: a batch is in it whole, or not at all.

    Args:
        path: of a Run that is there; `begin` makes a new one where there is none.
        journal: SQLite's "wal", or "rollback" where that doesn't work, or "auto" to find that out.
        header: entries to set in the Run's header.

    Attributes:
        note: why another file is written than was asked for; empty if it isn't.
        graphs: the graphs in the file, each as text with the numbers of its Sites and edges.
        reached: the last step with scalars and its time in a Run that goes on, (-1, 0.0) in a new one.
        damage: what is wrong with the file, maybe since long and unnoticed, as it was closed; empty if nothing is.

    Raises:
        StoreError, sqlite3.Error: it is no Run, or can't be written.

    Example:
        >>> import tempfile
        >>> from undertow.store import open_run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = RunFile.begin(Path(folder, "first.undertow"), {"model": "Net"})
        ...     batch = Batch()
        ...     batch.scalars({"step": 0, "time": 0.0, "loss": 2.5})
        ...     file.commit(batch)
        ...     damage = file.close()
        ...     open_run(file.path).scalars["loss"]
        array([2.5])
    """

    def __init__(self, path: Path, journal: Journal, header: Mapping[str, Any] | None = None) -> None:
        self.path, self.note = path, ""
        self._file = for_writing(path, journal)
        try:
            self._identity = identity(path)
            self._into = Appender(self._file)
            self._session = session(self._file)
            known = explored(self._file, self._into.ledger)
            self.graphs = [(about, sizes(about)) for about, _ in known[TAPED]]
            self.reached = _reached(known[SCALARS])
            if header is not None:
                self._into.header(header)
            self._into.counted()
        except BaseException:
            self._file.close()
            raise
        self._greeted = self._stale = False
        self.damage = ""

    @classmethod
    def begin(
        cls,
        path: Path,
        header: Mapping[str, Any],
        resume: bool = False,
        rank: int = 0,
        world: int = 1,
        journal: Journal = "auto",
        step: int | None = None,
    ) -> "RunFile":
        """Make a new Run, or go on with the one that is there.

        A finished Run of that name is kept as ``name-2``, so that the name always leads to the latest. What may still
        be written to, what can't be gone on with, and what several processes agree on is left alone: the new Run is
        ``name-2`` then.

        Args:
            path: of the file.
            header: entries of the Run's header.
            resume: go on with the Run that is there, if there is one.
            rank, world: of how many processes this is which.
            journal: SQLite's.
            step: to go on at; what is recorded from there on is put aside (`rewind`). None for the end.

        Raises:
            OSError, sqlite3.Error: nothing can be written there.
        """
        note = f"{path} exists already and may still be written to (resume=True would go on with it)"
        if resume and path.exists():
            try:
                if step is not None and step <= progress(path).steps.max(initial=-1):
                    cls(path, journal).close()  # whoever wrote to it stops, and nothing is left in a journal
                    rewind(path, step)
                return cls(path, journal, header)
            except (StoreError, sqlite3.Error, *BROKEN) as error:
                note = f"{path} can't be gone on with: {error}"
        kept = put_aside(path) if path.exists() and not resume and world == 1 else None
        new = create(path, meta(header, rank, world), replacing=kept is not None)
        made = cls(new, journal)
        if kept is not None:
            made.note = f"{path} held another run, which is kept in {kept}"
        elif new != path:
            made.note = f"{note}; this run is recorded in {new}"
        return made

    def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction, and return when it is in the file.

        Raises:
            WritingEnded: somebody else writes to the file now, or it is gone, or damaged.
            sqlite3.Error, OSError: not now; the file is as it was before.
        """

        def write() -> None:
            self._greet(batch)
            batch.write(self._into)

        self._transact(write)
        self._greeted = self._greeted or bool(batch.rows)

    def _transact(self, act: Callable[[], None]) -> None:
        if identity(self.path) != self._identity:
            raise WritingEnded("the file was deleted, moved or replaced while it was written to")
        try:
            if self._stale:
                self._into.reload()
                self._stale = False
            self._file.execute("BEGIN IMMEDIATE")
            self._still_ours()
            act()
            self._file.execute("COMMIT")
        except BaseException as error:
            self._back()
            # OperationalError is a disk that is full or locked, which may pass; its siblings are damage, which doesn't.
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise WritingEnded(f"the file is damaged ({error})") from error
            raise

    def _back(self) -> None:
        self._stale = True
        if self._file.in_transaction:
            self._file.execute("ROLLBACK")

    def _still_ours(self) -> None:
        last = "SELECT id, pid, host FROM sessions ORDER BY id DESC LIMIT 1"
        number, process, host = self._file.execute(last).fetchone()
        if number != self._session:
            raise WritingEnded(f"process {process} on {host} goes on with this Run")

    def _greet(self, batch: Batch) -> None:
        first = batch.first()
        if self._greeted or first is None:
            return
        rows = self._into.rows_of(TAPED)
        what = "training began" if self._session == 1 else f"training went on: session {self._session}"
        data = {"session": self._session, "pid": os.getpid(), "taped": rows}
        self._into.event(Event(*first, "session", what, data))

    def close(self) -> None:
        """Leave one plain file behind, all of it in blocks, and look whether it is whole (``damage``)."""
        with contextlib.suppress(WritingEnded, OSError, sqlite3.Error):
            self._transact(self._into.seal_all)
        settle(self._file)
        there = identity(self.path) == self._identity
        self.damage = _damage(self.path) if there else "it was deleted, moved or replaced"


def _reached(series: Sequence[tuple[str, StoredSeries]]) -> tuple[int, float]:
    for _, noted in series:
        if noted.rows:
            step, time = (float(noted.read(("scalars", name), noted.rows - 1)[0, 0]) for name in ("step", "time"))
            return int(step), time
    return -1, 0.0


CHECKED_UP_TO = 64 << 20
"""Bytes of a file that is looked through when it is closed: 0.1 seconds."""


def _damage(path: Path) -> str:
    """Return what is wrong with a file, as far as SQLite sees it; empty if nothing is, or nobody may look."""
    try:
        file, held = for_reading(path)
        with held:
            if path.stat().st_size > CHECKED_UP_TO:
                return ""
            found = str(file.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError:
        return ""
    except sqlite3.DatabaseError as error:
        return f"the file is damaged ({error})"
    except StoreError as error:
        return "" if isinstance(error.__cause__, sqlite3.OperationalError) else str(error)
    except OSError:
        return ""
    return "" if found == "ok" else f"the file is damaged ({found.splitlines()[-1]})"
