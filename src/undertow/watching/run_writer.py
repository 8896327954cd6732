"""Writing a Run while it happens."""

import atexit
import functools
import json
import logging
import os
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.record import Edge, Event, Site
from undertow.store.appender import about_graph
from undertow.store.backlog import Backlog, Item
from undertow.store.batch import Batch
from undertow.store.closing import Closing
from undertow.store.database import Journal
from undertow.store.rank_paths import rank_path
from undertow.store.run_file import Ended, Transactions

Values = Mapping[str, NDArray[np.floating]]

GATHER = 0.2
"""Seconds of training that one transaction holds; a killed process loses two or three of them."""
_OVERHEAD = 200
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_TROUBLE = (sqlite3.Error, OSError)
_log = logging.getLogger("undertow")


class RunWriter(Closing):
    """Writes a Run from a thread of its own. No method raises, waits for the disk, or keeps a step waiting.

    Every method returns whether what it was given was taken. It isn't when the queue is full (then the Run says so,
    with an event "thinned") or when the file is out of reach for good. A warning says what is wrong, once, and training
    goes on. Arrays are kept until they are written: don't change them.

    Args:
        path: of the file. Where there is one already, ``name-2`` is written, unless ``resume``.
        header: about the model and the machine, as JSON values.
        resume: go on with the Run that is there, as another session. Whoever wrote to it until now has to stop.
        queue_bytes: how much may wait in memory while the disk is slow or full.
        rank, world: of how many processes that train one model this is which; each writes its own file, rank 1 beside
            ``first.undertow`` to ``first.rank1.undertow``.
        journal: SQLite's "wal", or "rollback" where that doesn't work; by default that is found out.

    Attributes:
        path: where it writes.
        troubled: why it can't write at the moment, or None.
        reached: the last noted step and its time in a Run that goes on, (-1, 0.0) in a new one.

    Example:
        >>> import tempfile
        >>> from undertow.store import open_run
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with RunWriter(Path(folder, "first.undertow"), {"model": "Net"}) as writer:
        ...         taken = writer.scalars(0, 0.0, {"loss": 2.5})
        ...     open_run(writer.path).scalars["loss"]
        array([2.5])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Mapping[str, Any],
        *,
        resume: bool = False,
        queue_bytes: int = 64 << 20,
        rank: int = 0,
        world: int = 1,
        journal: Journal = "auto",
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes: ranks go from 0 to {world - 1}")
        self.path, self.reached = str(rank_path(Path(path), rank)), (-1, 0.0)
        self.troubled: str | None = None
        self._backlog, self._process = Backlog(queue_bytes), os.getpid()
        self._unsaid: list[str] = []
        self._said: set[str] = set()
        self._graphs: dict[Any, tuple[int, str, tuple[int, int]]] = {}
        self._abouts: list[tuple[str, tuple[int, int]]] = []
        self._names: dict[tuple[str, ...], str] = {}
        self._batch: Batch | None = None
        self._rest: list[Callable[[], object]] = []
        self._thread: threading.Thread | None = None
        self._at_exit = functools.partial(_close, weakref.ref(self))
        try:
            self._begin(dict(header), resume, rank, world, journal)
        except Exception as error:  # whatever it is, training goes on
            self._backlog.stop()
            self._fail("gone", f"nothing of this run is recorded, because {self.path} can't be written: {error}")
        self._say()

    def _begin(self, header: dict[str, Any], resume: bool, rank: int, world: int, journal: Journal) -> None:
        self._file = Transactions.begin(Path(self.path), header, resume, rank, world, journal)
        if self._file.note:
            self._warn("name", self._file.note)
        self.path, self.reached = str(self._file.path), self._file.reached
        self._abouts = self._file.graphs
        self._thread = threading.Thread(target=self._work, name="undertow writer", daemon=True)
        self._thread.start()
        atexit.register(self._at_exit)

    def graph(self, sites: Sequence[Site], edges: Sequence[Edge]) -> int:
        """The number of this graph in the file: the same graph, the same number."""
        key = tuple(sites), tuple(edges)
        if key not in self._graphs:
            about = about_graph(*key)
            new = (about, (len(key[0]), len(key[1])))
            if new not in self._abouts:
                self._abouts.append(new)
                self._put("graph", None, len(about), about, room=np.inf)
            self._graphs[key] = (self._abouts.index(new), *new)
        return self._graphs[key][0]

    def scalars(self, step: int, time: float, values: Mapping[str, float]) -> bool:
        """Note one step: numbers by name."""
        return self._put("scalars", step, _OVERHEAD, {"step": step, "time": time, **values})

    def parameters(self, step: int, names: Sequence[str], columns: Values) -> bool:
        """Record one step's numbers of the parameters: by name (see `PARAMETER_COLUMNS`), each [parameters]."""
        key = tuple(names)
        about = self._names.get(key) or self._names.setdefault(key, json.dumps(key))
        return self._put("parameters", step, _size(columns), about, len(key), columns, step)

    def taped(
        self, step: int, time: float, graph: int, by_site: Values, by_edge: Values, values: Mapping[str, float]
    ) -> bool:
        """Record one step's numbers of a graph: by name, each [sites] or [edges]; ``values``: loss, lr."""
        about, sizes = self._abouts[graph]
        numbers = {"step": step, "time": time, **values}
        return self._put("taped", step, _size(by_site) + _size(by_edge), about, sizes, by_site, by_edge, numbers)

    def event(self, step: int, time: float, kind: str, message: str, data: Mapping[str, Any] | None = None) -> bool:
        """Say what happened. There is room for it where there is none for numbers."""
        return self._put("event", step, _OVERHEAD, Event(step, time, kind, message, dict(data or {})), room=1.5)

    def later(self, act: Callable[[], object], nbytes: int = 1024, step: int | None = None) -> bool:
        """Have the writer's thread call ``act``, which may call the methods above; ``nbytes``: what it holds on to.

        What it returns, if that can be called, is called once when all that waited has been.
        """
        return self._put("later", step, nbytes, act)

    def update_header(self, values: Mapping[str, Any]) -> bool:
        """Set entries of the header, such as what is only known at the end."""
        return self._put("update_header", None, _OVERHEAD, dict(values), room=1.5)

    def _put(self, what: str, step: int | None, nbytes: int, *content: Any, room: float = 1.0) -> bool:
        item = Item(what, step, nbytes, content)
        if self._batch is not None and threading.current_thread() is self._thread:
            return self._add(self._batch, item)
        if self._unsaid:
            self._say()
        return os.getpid() == self._process and self._backlog.put(item, room)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything given so far is in the file; whether it is."""
        self._say()
        return os.getpid() == self._process and self._backlog.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is left and let go of the file; whether all of it is there. Called again, it does nothing."""
        if os.getpid() != self._process or self._backlog.closing:
            return False
        self._backlog.close()
        atexit.unregister(self._at_exit)
        if self._thread:
            self._thread.join(timeout)
            if self._thread.is_alive():
                self._fail("slow", f"{self.path} is still being written after {timeout:g} seconds: its end may be lost")
        self._say()
        return not self._backlog.stopped and not (self._thread and self._thread.is_alive())

    def _work(self) -> None:
        try:
            while not self._backlog.stopped:
                items, missed, ended = self._backlog.take(GATHER)
                if ended and not missed.counts:
                    break
                if not items and not missed.counts:  # what came may be followed by more about the same step
                    continue
                batch = self._made(items)
                if missed.counts:
                    batch.events.append(missed.event())
                self._write(batch)
                self._backlog.done(items)
        except Exception as error:  # whatever it is, training goes on
            self._backlog.stop()
            self._fail("gone", f"{self.path} is recorded no further: {type(error).__name__}: {error}")
        finally:
            self._file.close()

    def _made(self, items: Sequence[Item]) -> Batch:
        self._batch = batch = Batch()
        for item in items:
            self._add(batch, item)
        while self._rest:
            self._add(batch, Item("later", None, 0, (self._rest.pop(),)))
        self._batch = None
        return batch

    def _add(self, batch: Batch, item: Item) -> bool:
        try:
            if item.what == "later":
                rest = item.content[0]()
                if callable(rest) and rest not in self._rest:
                    self._rest.append(rest)
            else:
                batch.add(item)
        except Exception as error:  # a callable of somebody else, numbers of somebody else
            self._warn("item", f"{item.what} of step {item.step} can't be recorded: {type(error).__name__}: {error}")
            return False
        return True

    def _write(self, batch: Batch) -> None:
        pauses = iter(_PAUSES)
        while True:
            try:
                self._file.commit(batch)
            except Ended as error:
                self._backlog.stop()
                self._fail("gone", f"{self.path} is recorded no further: {error}")
            except _TROUBLE as error:
                self._fail("now", f"{self.path} can't be written at the moment: {error}. Steps wait in memory for now")
                if self._backlog.pause(next(pauses, _PAUSES[-1])):
                    continue
                self._backlog.stop()
                _log.warning("undertow: the last steps of %s are lost: %s", self.path, error)
            else:
                self.troubled = None
            return

    def _fail(self, kind: str, message: str) -> None:
        self.troubled = message
        self._warn(kind, message)

    def _warn(self, kind: str, message: str) -> None:
        """Once of each kind, and from the thread that trains: see `_say`."""
        if kind not in self._said:
            self._said.add(kind)
            self._unsaid.append(message)

    def _say(self) -> None:
        messages, self._unsaid = self._unsaid, []
        for message in messages:
            try:
                warnings.warn(f"undertow: {message}", RuntimeWarning, stacklevel=3)
            except RuntimeWarning:  # whoever makes errors of warnings wants to hear of it, not to lose a training run
                _log.warning("undertow: %s", message)


def _close(writer: weakref.ref[RunWriter]) -> None:
    found = writer()
    if found is not None:
        found.close()


def _size(columns: Values) -> int:
    return _OVERHEAD + sum(getattr(values, "nbytes", 8) for values in columns.values())
