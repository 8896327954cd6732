"""Append rows to a file, always inside a transaction that the caller begins and ends."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.jsonable import jsonable
from undertow.record import Edge, Event, Site
from undertow.store.database import ROW_BITS
from undertow.store.packing import Key, Layout, Misfit, columns_of, deflate, sealed, unsealed
from undertow.store.series import StoredSeries

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
        self._subjects: dict[tuple[str, str], Subject] = {}
        self.reload()

    def reload(self) -> None:
        """Know what is in the file, and nothing else."""
        known = self._file.execute("SELECT id, series, digest FROM subjects").fetchall()
        self._subjects = {(series, mark): self._subject(number) for number, series, mark in known}

    def _subject(self, number: int) -> Subject:
        subject = Subject(number)
        last = "SELECT id, columns FROM layouts WHERE subject = ? ORDER BY id DESC LIMIT 1"
        for subject.layout, text in self._file.execute(last, (number,)):
            subject.packed = Layout.from_json(text)
        begin = number << ROW_BITS
        rows = "SELECT id, layout, content FROM rows WHERE id >= ? AND id < ? ORDER BY id"
        found = self._file.execute(rows, (begin, begin + (1 << ROW_BITS))).fetchall()
        subject.fresh = [unsealed(content) for _, _, content in found]
        subject.rows = StoredSeries.of(self._file, number).rows
        return subject

    def subject(self, series: str, about: str) -> int:
        """Return the number of what rows are about: the same text, the same number."""
        return self._find(series, about).number

    def _find(self, series: str, about: str) -> Subject:
        key = series, digest(about)
        if key not in self._subjects:
            number = self._file.execute("INSERT INTO subjects (series, digest, about) VALUES (?, ?, ?)", (*key, about))
            self._subjects[key] = Subject(int(number.lastrowid or 0))
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
        new = [(begin + number, subject.layout, sealed(content)) for number, content in enumerate(contents)]
        self._file.executemany("INSERT INTO rows VALUES (?, ?, ?)", new)
        subject.fresh.extend(contents)
        subject.rows += len(contents)
        if len(subject.fresh) >= MOST_ROWS or len(subject.fresh) * subject.packed.offsets[-1] >= BLOCK_BYTES:
            self.seal(subject)

    def _grow(self, subject: Subject, rows: Rows) -> None:
        grown = subject.packed.grown(rows)
        self.seal(subject)
        subject.packed = grown
        made = "INSERT INTO layouts (subject, columns) VALUES (?, ?)"
        subject.layout = int(self._file.execute(made, (subject.number, grown.to_json())).lastrowid or 0)

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
            (subject.layout, place, first, len(values), deflate(values))
            for place, values in enumerate(columns)
            if values.size or place == 0  # the first one also tells how many rows there are
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
        subject.rows = rows

    def event(self, event: Event) -> None:
        """Append an event."""
        values = (
            event.step,
            event.time,
            event.kind,
            event.message,
            json.dumps(jsonable(event.data, infinite=True), allow_nan=False),
        )
        self._file.execute("INSERT INTO events (step, time, kind, message, data) VALUES (?, ?, ?, ?, ?)", values)

    def header(self, values: Mapping[str, Any]) -> None:
        """Set entries of the header."""
        held = dict(self._file.execute("SELECT key, value FROM meta WHERE key IN ('header', 'revision')"))
        header = {**json.loads(held["header"]), **jsonable(values, infinite=True)}
        new = [("header", json.dumps(header, allow_nan=False)), ("revision", str(int(held["revision"]) + 1))]
        self._file.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", new)
