"""`RunWriter`: writes a Run while it happens, and keeps nobody waiting."""

import atexit
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.record import Edge, Event, Site
from undertow.store import RunFile
from undertow.store.appender import about_graph
from undertow.store.closing import Closing
from undertow.store.database import Journal
from undertow.store.rank_paths import rank_path
from undertow.watching.write_queue import Item, WriteQueue
from undertow.watching.writer_thread import PendingWarnings, WriterThread

Values = Mapping[str, NDArray[np.floating]]
KnownGraph = tuple[str, tuple[int, int]]
"""A graph as text, and the numbers of its Sites and edges."""

_OVERHEAD = 200
"""Bytes that an item takes beside its numbers."""


class RunWriter(Closing):
    """Writes a Run from a thread of its own. No method raises, waits for the disk, or keeps a step waiting.

    Every method returns whether what it was given was taken. It isn't when the queue is full (then the Run says so,
    with an event "thinned") or when the file is out of reach for good. A warning says what is wrong, once, and training
    goes on. Arrays are kept until they are written: don't change them.

    Args:
        path: of the file. A finished Run there is kept as ``name-2``; beside one that may still be written to this one
            becomes ``name-2``, unless ``resume``.
        header: about the model and the machine, as JSON values.
        resume: go on with the Run that is there, as another session. Whoever wrote to it until now has to stop.
        queue_bytes: how much may wait in memory while the disk is slow or full.
        rank, world: of how many processes that train one model this is which; each writes its own file, rank 1 beside
            ``first.undertow`` to ``first.rank1.undertow``.
        journal: SQLite's "wal", or "rollback" where that doesn't work; by default that is found out.
        step: where to go on with ``resume``: what the Run has from there on is put aside, in a file of its own beside
            it. None for behind its last step.

    Attributes:
        path: where it writes.
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
        step: int | None = None,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes: ranks go from 0 to {world - 1}")
        self.path, self.reached = str(rank_path(Path(path), rank)), (-1, 0.0)
        self._queue, self._warnings, self._process = WriteQueue(queue_bytes), PendingWarnings(), os.getpid()
        self._graphs, self._names = GraphNumbers(()), dict[tuple[str, ...], str]()
        self._thread: WriterThread | None = None
        try:
            self._begin(RunFile.begin(Path(self.path), dict(header), resume, rank, world, journal, step))
        except Exception as error:  # whatever it is, training goes on
            self._queue.stop()
            why = f"nothing of this run is recorded, because {self.path} can't be written: {error}"
            self._warnings.trouble_with("gone", why)
        self._warnings.give()

    def _begin(self, file: RunFile) -> None:
        if file.note:
            self._warnings.add("name", file.note)
        self.path, self.reached = str(file.path), file.reached
        self._graphs = GraphNumbers(file.graphs)
        self._thread = WriterThread(file, self._queue, self._warnings)
        self._thread.start()
        atexit.register(self.close)  # which holds this until then, also where nobody else does

    @property
    def troubled(self) -> str | None:
        """Return why nothing can be written at the moment, or None."""
        return self._warnings.trouble

    def graph(self, sites: Sequence[Site], edges: Sequence[Edge]) -> int:
        """Return the number of this graph in the file: the same graph, the same number."""
        number, new = self._graphs.find(sites, edges)
        if new is not None:
            self._put("graph", None, len(new), new, room=np.inf)
        return number

    def scalars(self, step: int, time: float, values: Mapping[str, float]) -> bool:
        """Record one step's numbers by name."""
        return self._put("scalars", step, _OVERHEAD, {"step": step, "time": time, **values})

    def parameters(self, step: int, names: Sequence[str], columns: Values) -> bool:
        """Record one step's numbers of the parameters: by name (see `PARAMETER_COLUMNS`), each [parameters]."""
        key = tuple(names)
        about = self._names.get(key) or self._names.setdefault(key, json.dumps(key))
        return self._put("parameters", step, partial(_size, columns), about, len(key), columns, step)

    def taped(
        self, step: int, time: float, graph: int, by_site: Values, by_edge: Values, values: Mapping[str, float]
    ) -> bool:
        """Record one step's numbers of a graph: by name, each [sites] or [edges]; ``values``: loss, lr."""
        about, sizes = self._graphs[graph]
        numbers = {"step": step, "time": time, **values}
        return self._put("taped", step, partial(_size, by_site, by_edge), about, sizes, by_site, by_edge, numbers)

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

    def _put(
        self, what: str, step: int | None, nbytes: int | Callable[[], int], *content: Any, room: float = 1.0
    ) -> bool:
        if self._thread is not None:
            taken = self._thread.takes(Item(what, step, 0, content))  # what the thread itself adds waits in no queue
            if taken is not None:
                return taken
        self._warnings.give()
        item = Item(what, step, nbytes() if callable(nbytes) else nbytes, content)
        return os.getpid() == self._process and self._queue.put(item, room)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything given so far is in the file; whether it is."""
        self._warnings.give()
        return os.getpid() == self._process and self._queue.flush(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is left and let go of the file; whether all of it is there. Called again, it does nothing."""
        # A forked child (a DataLoader's worker) has a copy of us without the thread: it must not touch the file.
        if os.getpid() != self._process or self._queue.closing:
            return False
        self._queue.close()
        atexit.unregister(self.close)
        ended = self._thread is None or self._thread.join(timeout)
        if not ended:
            what = f"{self.path} is still being written after {timeout:g} seconds: its end may be lost"
            self._warnings.trouble_with("slow", what)
        self._warnings.give()
        return ended and not self._queue.stopped


class GraphNumbers:
    """Numbers the graphs of a file in the order in which they came: the same graph, the same number.

    Args:
        known: the graphs in the file, in their order.

    Example:
        >>> graphs = GraphNumbers([])
        >>> graphs.find((), ())
        (0, '{"sites": [], "edges": []}')
        >>> graphs.find((), ())
        (0, None)
    """

    def __init__(self, known: Sequence[KnownGraph]) -> None:
        self._known = list(known)
        self._numbers: dict[tuple[tuple[Site, ...], tuple[Edge, ...]], int] = {}
        self._latest: tuple[Sequence[Site], Sequence[Edge], int] = ((), (), -1)

    def __getitem__(self, number: int) -> KnownGraph:
        return self._known[number]

    def find(self, sites: Sequence[Site], edges: Sequence[Edge]) -> tuple[int, str | None]:
        """Return the number of a graph, and its text if it is new to the file."""
        if sites is self._latest[0] and edges is self._latest[1] and self._latest[2] >= 0:
            return self._latest[
                2
            ], None  # as a rule; to hash hundreds of Sites takes longer than to write their numbers
        key = tuple(sites), tuple(edges)
        text = None
        if key not in self._numbers:
            graph = about_graph(*key), (len(key[0]), len(key[1]))
            if graph not in self._known:
                self._known.append(graph)
                text = graph[0]
            self._numbers[key] = self._known.index(graph)
        if isinstance(sites, tuple) and isinstance(edges, tuple):  # which nobody changes
            self._latest = sites, edges, self._numbers[key]
        return self._numbers[key], text


def _size(*columns: Values) -> int:
    return sum(_OVERHEAD + sum(getattr(values, "nbytes", 8) for values in each.values()) for each in columns)
