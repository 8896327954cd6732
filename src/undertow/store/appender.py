"""Append rows to a file, always inside a transaction that the caller begins and ends."""

import hashlib
import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.jsonable import jsonable
from undertow.record import Edge, Event, Site
from undertow.store.database import ROW_BITS
from undertow.store.ledger import COUNTS, Ledger, read_meta, sealed_text, write_meta
from undertow.store.packing import Key, Layout, Misfit, columns_of, deflate, sealed, unsealed
from undertow.store.series import StoredSeries, explored

BLOCK_BYTES = 512 << 10
MOST_ROWS = 1024
"""Fresh rows become blocks when there are ``BLOCK_BYTES`` of them, or so many."""

Rows = Mapping[Key, NDArray[np.floating]]


def about_graph(sites: Sequence[Site], edges: Sequence[Edge]) -> str:
    """Write a graph as text."""
    pairs = [[edge.source, edge.target] for edge in edges]
    return json.dumps({"sites": [site.to_dict() for site in sites], "edges": pairs}, allow_nan=False)


def sizes(about: str) -> tuple[int, int]:
    """Count the Sites and edges in what `about_graph` wrote."""
    graph = json.loads(about)
    return len(graph["sites"]), len(graph["edges"])


def digest(text: str) -> str:
    """Hash a text, so that the same graph is known again."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Subject:
    """The subject of rows: a graph, a set of parameters, or the run itself."""

    number: int
    layout: int = 0
    packed: Layout = field(default_factory=Layout)
    rows: int = 0
    fresh: list[bytes] = field(default_factory=list)
    """Rows that are not in blocks yet."""


class Appender:
    """Appends to an open file. After a transaction that failed: `reload`."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file
        self.ledger = Ledger()
        self._subjects: dict[tuple[str, str], Subject] = {}
        self.reload()

    def reload(self) -> None:
        """Know what is in the file, and nothing else."""
        self.ledger = Ledger.of(read_meta(self._file))
        found = explored(self._file, self.ledger)
        self._subjects = {
            (series, digest(about)): self._subject(stored) for series, kind in found.items() for about, stored in kind
        }
        if not self.ledger.is_kept:
            self._count()

    def _subject(self, stored: StoredSeries) -> Subject:
        subject = Subject(stored.number, rows=stored.rows)
        for subject.layout, subject.packed in stored.layouts.items():
            pass  # rows are appended in the last one
        begin = stored.number << ROW_BITS
        rows = "SELECT id, layout, content FROM rows WHERE id >= ? AND id < ? ORDER BY id"
        found = self._file.execute(rows, (begin, begin + (1 << ROW_BITS))).fetchall()
        subject.fresh = [unsealed(content, *place, older=self.ledger.older) for *place, content in found]
        return subject

    def _count(self) -> None:
        """Begin to count in a file of which an older undertow has left the counts out."""
        (self.ledger.events,) = self._file.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        self.ledger.subjects = len(self._subjects)
        for (layout,) in self._file.execute("SELECT id FROM layouts").fetchall():
            fresh = "SELECT count(*) FROM rows WHERE layout = ?"
            packed = "SELECT total(rows) FROM blocks WHERE place = 0 AND layout = ?"
            counts = (self._file.execute(query, (layout,)).fetchone()[0] for query in (fresh, packed))
            self.ledger.rows[layout] = sum(map(int, counts))
        self.ledger.is_kept = True

    def counted(self) -> None:
        """Write down how many records there are now: the last thing in a transaction."""
        write_meta(self._file, {COUNTS: self.ledger.to_text()})

    def rows_of(self, series: str) -> int:
        """Return how many rows of a kind there are."""
        return sum(subject.rows for (its, _), subject in self._subjects.items() if its == series)

    def subject(self, series: str, about: str) -> int:
        """Return the number of what rows are about: the same text, the same number."""
        return self._find(series, about).number

    def _find(self, series: str, about: str) -> Subject:
        key = series, digest(about)
        if key not in self._subjects:
            number = max((subject.number for subject in self._subjects.values()), default=0) + 1
            text = sealed_text(about, "subjects", number, *key)
            self._file.execute("INSERT INTO subjects VALUES (?, ?, ?, ?)", (number, *key, text))
            self._subjects[key] = Subject(number)
            self.ledger.subjects += 1
        return self._subjects[key]

    def rows(self, series: str, about: str, rows: Rows) -> None:
        """Append rows, from columns of [rows, width] each.

        Raises:
            ValueError: a column that is no float32 or float64, or of another width than before.
        """
        subject = self._find(series, about)
        try:
            contents = subject.packed.pack(rows)
        except Misfit:
            self._grow(subject, rows)
            contents = subject.packed.pack(rows)
        # One key for subject and row keeps a subject's rows next to each other in the B-tree.
        begin = (subject.number << ROW_BITS) + subject.rows
        places = [(begin + number, subject.layout) for number in range(len(contents))]
        new = [(*place, sealed(content, *place)) for place, content in zip(places, contents, strict=True)]
        self._file.executemany("INSERT INTO rows VALUES (?, ?, ?)", new)
        self.ledger.rows[subject.layout] += len(contents)
        subject.fresh.extend(contents)
        subject.rows += len(contents)
        if len(subject.fresh) >= MOST_ROWS or len(subject.fresh) * subject.packed.offsets[-1] >= BLOCK_BYTES:
            self.seal(subject)

    def _grow(self, subject: Subject, rows: Rows) -> None:
        grown = subject.packed.grown(rows)
        self.seal(subject)
        subject.packed = grown
        subject.layout = max(self.ledger.rows, default=0) + 1
        text = sealed_text(grown.to_json(), "layouts", subject.layout, subject.number)
        self._file.execute("INSERT INTO layouts VALUES (?, ?, ?)", (subject.layout, subject.number, text))
        self.ledger.rows[subject.layout] = 0

    def seal(self, subject: Subject) -> None:
        """Make blocks of the fresh rows."""
        if not subject.fresh:
            return
        self._blocks(subject, list(columns_of(subject.packed, subject.fresh)), subject.rows - len(subject.fresh))
        begin = subject.number << ROW_BITS
        self._file.execute("DELETE FROM rows WHERE id >= ? AND id < ?", (begin, begin + (1 << ROW_BITS)))
        subject.fresh = []

    def seal_all(self) -> None:
        """Make blocks of every fresh row."""
        for subject in self._subjects.values():
            self.seal(subject)

    def _blocks(self, subject: Subject, columns: Sequence[NDArray[np.floating]], first: int) -> None:
        rows = max(map(len, columns), default=0)
        for start in range(0, rows, MOST_ROWS):
            self._block(subject, [values[start : start + MOST_ROWS] for values in columns], first + start)

    def _block(self, subject: Subject, columns: Sequence[NDArray[np.floating]], first: int) -> None:
        blocks = [
            (*at, deflate(values, *at))
            for place, values in enumerate(columns)
            if values.size or place == 0  # the first one also tells how many rows there are
            for at in [(subject.layout, place, first, len(values))]
        ]
        put = "INSERT INTO blocks (layout, place, first, rows, content) VALUES (?, ?, ?, ?, ?)"
        self._file.executemany(put, blocks)

    def bulk(self, series: str, about: str, columns: Rows) -> None:
        """Append many rows at once, each column [rows, width], to something that has none yet."""
        subject = self._find(series, about)
        self._grow(subject, columns)
        wanted = [columns[kept.group, kept.name] for kept in subject.packed.columns]
        rows = max(map(len, wanted), default=0)
        step = int(np.clip(BLOCK_BYTES // max(subject.packed.offsets[-1], 1), 1, MOST_ROWS))
        for first in range(0, rows, step):
            parts = zip(wanted, subject.packed.columns, strict=True)
            self._block(subject, [values[first : first + step, kept.at] for values, kept in parts], first)
        subject.rows = self.ledger.rows[subject.layout] = rows

    def event(self, event: Event) -> None:
        """Append an event."""
        self.ledger.events += 1
        time = None if math.isnan(event.time) else float(event.time) + 0.0  # as SQLite keeps it: it knows no -0.0
        place = (self.ledger.events, event.step, time, event.kind, event.message)
        text = sealed_text(json.dumps(jsonable(event.data, infinite=True), allow_nan=False), "events", *place)
        self._file.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (*place, text))

    def header(self, values: Mapping[str, Any]) -> None:
        """Set entries of the header."""
        held = read_meta(self._file)
        header = {**json.loads(held["header"]), **jsonable(values, infinite=True)}
        revision = str(int(held["revision"]) + 1)
        write_meta(self._file, {"header": json.dumps(header, allow_nan=False), "revision": revision})
