"""The rows about one thing, read column by column from blocks and fresh rows alike."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from undertow.store.database import ROW_BITS
from undertow.store.ledger import Ledger, unsealed_text
from undertow.store.packing import BROKEN, MOST_ROWS, Damaged, Kept, Key, Layout, inflate, unsealed

TAPED, SCALARS, PARAMETERS = "taped", "scalars", "parameters"


@dataclass
class StoredSeries:
    """The rows about one subject.

    Attributes:
        file: where they are.
        number: of the subject.
        layouts: by their number in the file, in the order of the rows.
        ledger: what the file says it holds.
        rows: how many there are.
        extents: first row and the row behind the last of every layout; empty where nobody counted.
        damage: what could not be read; nan stands where it was.
    """

    file: sqlite3.Connection
    number: int
    layouts: Mapping[int, Layout]
    ledger: Ledger
    rows: int
    extents: Mapping[int, tuple[int, int]]
    damage: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, file: sqlite3.Connection, number: int, ledger: Ledger, damage: list[str] | None = None) -> Self:
        """Look up what the file has about a subject.

        Raises:
            Damaged, ValueError, TypeError: that is not what was written.
        """
        texts = file.execute("SELECT id, columns FROM layouts WHERE subject = ? ORDER BY id", (number,)).fetchall()
        older = ledger.older
        layouts = {
            place: Layout.from_json(unsealed_text(text, "layouts", place, number, older=older)) for place, text in texts
        }
        extents = ledger.extents(layouts) if ledger.is_kept else {}
        rows = max((end for _, end in extents.values()), default=0)
        rows = rows if ledger.is_kept else _rows(file, number, list(layouts))
        return cls(file, number, layouts, ledger, rows, extents, [] if damage is None else damage)

    @property
    def nbytes(self) -> int:
        """Return the memory that all of it takes, what was left out of the file included."""
        return self.rows * sum(kept.width * np.dtype(kept.dtype).itemsize for kept in self.kept.values())

    @property
    def kept(self) -> Mapping[Key, Kept]:
        """Return every column, of the widest type it ever had; ``at`` is the last layout's."""
        found: dict[Key, Kept] = {}
        for layout in self.layouts.values():
            for kept in layout.columns:
                found[kept.group, kept.name] = kept
        return found

    def names(self, group: str, width: int) -> list[str]:
        """Return the columns of a group.

        Raises:
            Damaged: one isn't ``width`` wide.
        """
        if any(kept.width != width for kept in self.kept.values() if kept.group == group):
            raise Damaged(f"a column of {group} that isn't {width} wide")
        return [name for its, name in self.kept if its == group]

    def read(self, key: Key, first: int = 0, last: int | None = None) -> NDArray[np.floating]:
        """Read one column from row ``first`` to before ``last``, [rows, width]; nan where it wasn't measured."""
        last = self.rows if last is None else last
        kept = self.kept[key]
        out = np.full((max(last - first, 0), kept.width), np.nan, kept.dtype)
        for number, layout in self.layouts.items():
            if key in layout.places:
                place, known = layout.places[key], len(self.damage)
                found = self._from_blocks(out, number, layout.columns[place], place, first, last)
                found += self._from_rows(out, number, layout, place, first, last)
                if found < self._counted(number, layout.columns[place], first, last) and known == len(self.damage):
                    self.damage.append("rows that are missing")
        return out

    def _counted(self, layout: int, kept: Kept, first: int, last: int) -> int:
        """Return how many rows from ``first`` to before ``last`` a layout was written with; 0 if nobody counted."""
        if not self.extents or not len(kept.at):
            return 0
        begin, end = self.extents[layout]
        return max(min(last, end) - max(first, begin), 0)

    def _from_blocks(
        self, out: NDArray[np.floating], layout: int, kept: Kept, place: int, first: int, last: int
    ) -> int:
        found = 0
        blocks = (
            "SELECT first, rows, content FROM blocks WHERE layout = ? AND place = ? AND first < ? AND first + rows > ?"
        )
        for begin, rows, content in self._despite(blocks, (layout, place, last, first), "first"):
            try:
                bare = unsealed(content, layout, place, begin, rows, older=self.ledger.older)
                # No more than there are: a few kilobytes inflate to gigabytes.
                _small(_small(begin, self.rows) + _small(rows), self.rows)
                found += self._put(out, kept, inflate(bare, rows, kept), begin - first)
            except BROKEN as error:
                self.damage.append(str(error))
        return found

    def _from_rows(
        self, out: NDArray[np.floating], number: int, layout: Layout, place: int, first: int, last: int
    ) -> int:
        found = 0
        begin = self.number << ROW_BITS
        fresh = "SELECT id, content FROM rows WHERE id >= ? AND id < ? AND layout = ?"
        kept, start, end = layout.columns[place], layout.offsets[place], layout.offsets[place + 1]
        for row, content in self._despite(fresh, (begin + first, begin + last, number), "id"):
            try:
                bare = unsealed(content, row, number, older=self.ledger.older)
                found += self._put(out, kept, np.frombuffer(bare[start:end], kept.dtype)[None], row - begin - first)
            except BROKEN as error:
                self.damage.append(str(error))
        return found

    def _put(self, out: NDArray[np.floating], kept: Kept, values: NDArray[np.floating], at: int) -> int:
        values, at = values[max(-at, 0) :], max(at, 0)
        values = values[: len(out) - at]
        if values.shape[1] != len(kept.at):
            raise Damaged("a row of another length")
        if len(kept.at) == kept.width:
            out[at : at + len(values)] = values
        else:
            out[at : at + len(values), kept.at] = values
        return len(values)

    def _despite(self, query: str, values: Sequence[Any], by: str) -> Iterator[tuple[Any, ...]]:
        """Yield rows from the front until the file is damaged there, and then from the back until it is."""
        seen = set()
        try:
            for row in self.file.execute(f"{query} ORDER BY {by}", values):
                seen.add(row[0])
                yield row
            return
        # A locked file is no damaged one, though OperationalError is a DatabaseError.
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            self.damage.append(str(error))
        try:
            # From the other end, the rows behind the damaged page can still be reached.
            for row in self.file.execute(f"{query} ORDER BY {by} DESC", values):
                if row[0] in seen:
                    return
                yield row
        except sqlite3.DatabaseError:
            return


def explored(
    file: sqlite3.Connection, ledger: Ledger, damage: list[str] | None = None
) -> dict[str, list[tuple[str, StoredSeries]]]:
    """Return by kind everything that there are rows about, each with its text.

    Raises:
        Damaged, ValueError, TypeError: that is not what was written, or not all of it.
    """
    found: dict[str, list[tuple[str, StoredSeries]]] = {TAPED: [], SCALARS: [], PARAMETERS: []}
    rows = file.execute("SELECT id, series, digest, about FROM subjects ORDER BY id").fetchall()
    for number, series, digest, about in rows:
        text = unsealed_text(about, "subjects", number, series, digest, older=ledger.older)
        found.setdefault(series, []).append((text, StoredSeries.of(file, number, ledger, damage)))
    layouts = {layout for kind in found.values() for _, each in kind for layout in each.layouts}
    if ledger.is_kept and (len(rows) != ledger.subjects or layouts != ledger.rows.keys()):
        raise Damaged("a graph, or a layout of rows, that is missing")
    return found


def _small(value: Any, limit: int = MOST_ROWS) -> int:
    # From a damaged file anything may come; and not isinstance, as True is an int, too.
    if type(value) is not int or not 0 <= value <= limit:
        raise Damaged("a number of rows that can't be")
    return value


def _rows(file: sqlite3.Connection, subject: int, layouts: Sequence[int]) -> int:
    begin = subject << ROW_BITS
    fresh = "SELECT max(id), count(*) FROM rows WHERE id >= ? AND id < ?"
    newest, most = file.execute(fresh, (begin, begin + (1 << ROW_BITS))).fetchone()
    ends = 0 if newest is None else int(newest) - begin + 1
    for layout in layouts:
        query = "SELECT max(first + rows), total(rows) FROM blocks WHERE place = 0 AND layout = ?"
        end, total = file.execute(query, (layout,)).fetchone()
        ends, most = max(ends, int(end or 0)), most + int(total)
    if ends > most + MOST_ROWS:
        raise Damaged("more rows than there is room for")
    return ends
