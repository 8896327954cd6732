"""Reading a Run, whole or what came since."""

import contextlib
import json
import os
import sqlite3
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from undertow.columns import Column, Columns, StoredColumns
from undertow.record import Edge, Event, Run, Site, header_from, with_finite_steps
from undertow.record.finite_steps import placed_rows
from undertow.record.sites import graph_from
from undertow.store.budget import check_budget
from undertow.store.closing import Closing
from undertow.store.database import explained, for_reading, identity, is_copy
from undertow.store.errors import StoreError
from undertow.store.ledger import Ledger, read_meta, unsealed_text
from undertow.store.packing import BROKEN
from undertow.store.parameters import Parameters
from undertow.store.series import PARAMETERS, SCALARS, TAPED, StoredSeries, explored

EAGER_BYTES = 32 << 20
"""Columns that are larger together are read when they are asked for."""

OFTEN, MOST_ELSEWHERE = 10, 4
"""Recorded steps with which a graph is read beside the one that is shown, and how many such graphs at most."""


class Position(NamedTuple):
    """Say how far a file has grown: two that differ mean that something came.

    Attributes:
        run: of which Run.
        taped: recorded steps of every graph.
        scalars: noted steps.
        parameters: rows of every set of parameters.
        events: their number.
        header: how often it was changed.
    """

    run: str = ""
    taped: tuple[int, ...] = ()
    scalars: int = 0
    parameters: tuple[int, ...] = ()
    events: int = 0
    header: int = 0


class MissingStepError(IndexError):
    """A row that there isn't."""


class _Contents(NamedTuple):
    meta: Mapping[str, str]
    taped: Sequence[tuple[str, StoredSeries]]
    scalars: Sequence[tuple[str, StoredSeries]]
    parameters: Sequence[tuple[str, StoredSeries]]
    position: Position
    ledger: Ledger


class RunReader(Closing):
    """One rank's file, read as it grows, from any thread. `open_run` merges ranks; this doesn't.

    Args:
        path: of the file.
        graph: which of the model's graphs to show; by default the one with the most recorded steps.

    Raises:
        StoreError: it is missing, damaged, newer, or no Run; reading it later raises the same.

    Example:
        >>> import tempfile
        >>> from undertow.store import Batch, RunFile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file, batch = RunFile.begin(Path(folder, "first.undertow"), {}), Batch()
        ...     with RunReader(file.path) as reader:
        ...         before = reader.refresh()
        ...         batch.scalars({"step": 0, "time": 0.0, "loss": 2.5})
        ...         file.commit(batch)
        ...         len(reader.tail(before).scalars["loss"]), reader.refresh() == before
        ...     damage = file.close()
        (1, False)
    """

    def __init__(self, path: str | os.PathLike[str], graph: int | None = None) -> None:
        self.path, self.graph = Path(path), graph
        self._lock = threading.RLock()
        self._graphs: dict[str, tuple[tuple[Site, ...], tuple[Edge, ...]]] = {}
        self._damage: list[str] = []
        self._warned = False
        self._open()
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._file, stack = for_reading(self.path)
        self._undo = weakref.finalize(self, stack.close)
        self._identity = identity(self.path)
        self._copied = is_copy(self._file)
        self._seen: tuple[int, Position] | None = None

    @contextlib.contextmanager
    def _reading(self, follow: bool = True) -> Iterator[sqlite3.Connection]:
        """Hold the file still: nothing comes or goes meanwhile."""
        with self._lock:
            # Another file under the name (a run begun anew): what is open is the old one, deleted but still readable.
            # And of a run whose writer was killed a copy is read, until somebody goes on writing.
            if follow and (self._identity is None or identity(self.path) != self._identity or self._outgrown()):
                self._undo()
                self._identity = None
                self._open()
            try:
                self._file.execute("BEGIN")
                yield self._file
            except (StoreError, MissingStepError):
                raise
            except (sqlite3.Error, *BROKEN) as error:
                raise explained(error, self.path) from error
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._file.execute("ROLLBACK")

    def _outgrown(self) -> bool:
        return self._copied and (Path(f"{self.path}-shm").exists() or not Path(f"{self.path}-wal").exists())

    @property
    def world(self) -> int:
        """Return how many processes write this Run, each its own file."""
        with self._reading() as file:
            return int(self._contents(file).meta["world"])

    @property
    def graphs(self) -> list[tuple[tuple[Site, ...], tuple[Edge, ...]]]:
        """Sites and edges of every graph that the model had."""
        with self._reading() as file:
            return [self._graph(about) for about, _ in self._contents(file).taped]

    def refresh(self) -> Position:
        """Find out how far the file has grown; that costs next to nothing if it has not."""
        with self._reading() as file:
            # SQLite counts commits of others there, so that an unchanged file is known without reading it.
            (version,) = file.execute("PRAGMA data_version").fetchone()
            if self._seen is None or self._seen[0] != version:
                self._seen = version, self._contents(file).position
            return self._seen[1]

    def run(self) -> Run:
        """Read all of it. What is large is read when it is asked for."""
        return self._run(None)[1]

    def tail(self, since: Position | None) -> Run:
        """Read the rows and events that came after ``since``, None for all; header, Sites and names are whole."""
        return self.grown(since)[1]

    def grown(self, since: Position | None) -> tuple[Position, Run]:
        """`tail` and how far it goes: nothing comes in between."""
        return self._run(since or Position())

    def at(self, row: int) -> Run:
        """Read one recorded step of the graph that is shown, with header, Sites and edges, and nothing else.

        Raises:
            IndexError: there are not so many; negative ones count from the end.
        """
        with self._reading() as file:
            contents = self._contents(file)
            number = self._shown(contents)
            places = _placed(contents.taped[number][1]) if contents.taped else range(0)
            if not -len(places) <= row < len(places):
                raise MissingStepError(f"no recorded step {row}: there are {len(places)}")
            (about, taped), place = contents.taped[number], int(places[row])
            groups = ("columns", "edge_columns", "steps")
            sites, edges = self._graph(about)
            sizes = zip(groups, (len(sites), len(edges), 1), strict=True)
            some = [self._columns(taped, group, size, place, False, place + 1) for group, size in sizes]
            return Run(self._header(contents), sites, edges, some[0], some[1], dict(_flat(some[2])))

    def _run(self, since: Position | None) -> tuple[Position, Run]:
        with self._reading() as file:
            contents = self._contents(file)
            first = since if since and since.run == contents.position.run else Position()
            run = self._taped_run(contents, first, lazily=since is None)
            run.events = tuple(_events(file, contents.ledger, first.events, self._damage))
            run.scalars = self._scalars(contents, first)
            if since is None and self.graph is None:
                run.other_graphs = tuple(self._elsewhere(contents, run))
            run = with_finite_steps(run)
        self._warn()
        return contents.position, run

    def _elsewhere(self, contents: _Contents, shown: Run) -> Iterator[Run]:
        """Read the run through other graphs than the one that is shown, as far as they were taped often."""
        rows = {number: taped.rows for number, (_, taped) in enumerate(contents.taped) if taped.rows >= OFTEN}
        rows.pop(self._shown(contents), None)
        for number in sorted(sorted(rows, key=rows.__getitem__, reverse=True)[:MOST_ELSEWHERE]):
            other = self._taped_run(contents, Position(), True, number)
            yield replace(other, scalars=shown.scalars, events=shown.events)

    def _taped_run(self, contents: _Contents, first: Position, lazily: bool, number: int | None = None) -> Run:
        number = self._shown(contents) if number is None else number
        about, taped = contents.taped[number] if contents.taped else ('{"sites": [], "edges": []}', None)
        sites, edges = self._graph(about)
        begin = _at(first.taped, number)
        named = Parameters(contents.parameters, first.parameters)
        return Run(
            self._header(contents),
            sites,
            edges,
            self._columns(taped, "columns", len(sites), begin, lazily),
            self._columns(taped, "edge_columns", len(edges), begin, lazily),
            dict(_flat(self._columns(taped, "steps", 1, begin, False))),
            parameters=named.names,
            parameter_columns=self._later(named.shapes, named.read, lazily),
            parameter_steps=named.steps(),
        )

    def _header(self, contents: _Contents) -> dict[str, Any]:
        header = header_from(json.loads(contents.meta["header"]))
        if len(contents.taped) > 1:
            header["graphs"] = [taped.rows for _, taped in contents.taped]
        return header

    def _shown(self, contents: _Contents) -> int:
        rows = [taped.rows for _, taped in contents.taped]
        if self.graph is None:
            return rows.index(max(rows)) if rows else 0
        if not 0 <= self.graph < len(rows):
            raise StoreError(f"{self.path} has no graph {self.graph}: it has {len(rows)}, counted from 0")
        return self.graph

    def _graph(self, about: str) -> tuple[tuple[Site, ...], tuple[Edge, ...]]:
        if about not in self._graphs:
            graph = json.loads(about)
            self._graphs[about] = graph_from(graph["sites"], graph["edges"])
        return self._graphs[about]

    def _scalars(self, contents: _Contents, first: Position) -> dict[str, Column]:
        return {
            name: values
            for _, noted in contents.scalars
            for name, values in _flat(self._columns(noted, "scalars", 1, first.scalars, False))
        }

    def _columns(
        self, series: StoredSeries | None, group: str, width: int, first: int, lazily: bool, last: int | None = None
    ) -> Columns:
        if series is None:
            return {}
        shape = max((last or series.rows) - first, 0), width
        shapes = dict.fromkeys(series.names(group, width), shape)
        return self._later(shapes, lambda name: series.read((group, name), first, last), lazily)

    def _later(self, shapes: Mapping[str, tuple[int, int]], read: Callable[[str], Column], lazily: bool) -> Columns:
        def asked(name: str) -> Column:
            with self._reading(follow=False):
                values = read(name)
            self._warn()
            return values

        nbytes = sum(4 * rows * width for rows, width in shapes.values())
        return (
            StoredColumns(shapes, asked) if lazily and nbytes > EAGER_BYTES else {name: read(name) for name in shapes}
        )

    def _contents(self, file: sqlite3.Connection) -> _Contents:
        meta = read_meta(file)
        ledger = Ledger.of(meta)
        found = explored(file, ledger, self._damage)
        taped, scalars, parameters = (found[kind] for kind in (TAPED, SCALARS, PARAMETERS))
        check_budget(self.path, [series for kind in found.values() for _, series in kind], Parameters(parameters))
        (events,) = file.execute("SELECT count(*) FROM events").fetchone()
        events = ledger.events if ledger.is_kept else events
        rows = [tuple(series.rows for _, series in kind) for kind in (taped, scalars, parameters)]
        position = Position(meta["run"], rows[0], sum(rows[1]), rows[2], events, int(meta["revision"]))
        return _Contents(meta, taped, scalars, parameters, position, ledger)

    def _warn(self) -> None:
        if self._damage and not self._warned:
            self._warned = True
            parts = (
                f"{self.path} is damaged: {len(self._damage)} of its parts can't be read: nan stands where they were"
            )
            warnings.warn(f"{parts} ({self._damage[0]})", RuntimeWarning, stacklevel=4)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._undo()


def _at(counts: Sequence[int], place: int) -> int:
    return counts[place] if place < len(counts) else 0


def _placed(taped: StoredSeries) -> Sequence[int]:
    """Return the places of the recorded steps that a Run shows: rows whose step was lost are left out of it."""
    key = ("steps", "step")
    rows = placed_rows(taped.read(key)[:, 0]) if key in taped.kept else None
    return range(taped.rows) if rows is None else rows.tolist()


def _flat(columns: Columns) -> Iterator[tuple[str, Column]]:
    for name, values in columns.items():
        yield name, values.reshape(len(values))


def _events(file: sqlite3.Connection, ledger: Ledger, first: int, damage: list[str]) -> Iterator[Event]:
    """Yield the events after the first so many. One that is damaged is left out, and counted as damage."""
    found = file.execute("SELECT id, step, time, kind, message, data FROM events WHERE id > ? ORDER BY id", (first,))
    known = 0
    for *place, data in found:
        known += 1
        try:
            _, step, time, kind, message = place
            data = dict(json.loads(unsealed_text(data, "events", *place, older=ledger.older)))
            yield Event(int(step), np.nan if time is None else float(time), str(kind), str(message), data)
        except BROKEN as error:
            damage.append(str(error))
    if ledger.is_kept and known < ledger.events - first:
        damage.append("events that are missing")
