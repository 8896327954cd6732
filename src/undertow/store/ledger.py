"""Keep what a file says it holds, each entry with a sum: its meta table, and how many records there are of every kind.

A record's sum covers its place as well as its content, so that numbers can't turn up beneath another Site or step; and
the counts tell that a record is missing, which no sum can. Files that an undertow before format 2 began have records
without such sums: there, and only there, these are taken as they are.
"""

import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Self

from undertow.store.packing import Damaged

BEGUN, COUNTS = "format", "counts"
_SUM = re.compile("[0-9a-f]{8} ")
_MOST_ROWS = 1 << 40


def sealed_text(text: str, *place: object) -> str:
    """Put before a text the sum of it and of where it stands.

    Example:
        >>> sealed_text("[1, 2]", "events", 1)
        '286a5506 [1, 2]'
    """
    return f"{_sum(text, place):08x} {text}"


def unsealed_text(stored: object, *place: object, older: bool = False) -> str:
    """Check and take off what `sealed_text` added.

    Args:
        stored: from the file.
        place: where it stands.
        older: whether a text without a sum will do.

    Raises:
        Damaged: it is not what was written there.
    """
    if not isinstance(stored, str):
        raise Damaged("a text that is none")
    if _SUM.match(stored):
        text = stored[9:]
        if int(stored[:8], 16) != _sum(text, place):
            raise Damaged("a sum that does not agree with its text")
        return text
    if not older:
        raise Damaged("a text without its sum")
    return stored


def _sum(text: str, place: Iterable[object]) -> int:
    return zlib.crc32("\0".join([*map(repr, place), text]).encode("utf-8", "surrogatepass"))


@dataclass
class Ledger:
    """Count the records of a file.

    Attributes:
        older: whether records without sums may be in it.
        subjects, events: how many.
        rows: of every layout, by its number.
        is_kept: whether the file counts at all; one that only an older undertow wrote doesn't.
    """

    older: bool = False
    subjects: int = 0
    events: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    is_kept: bool = True

    @classmethod
    def of(cls, meta: Mapping[str, str]) -> Self:
        """Read it from a file's meta table.

        Raises:
            Damaged, ValueError, KeyError, TypeError: it is not what was written.
        """
        older = BEGUN not in meta
        if older and COUNTS not in meta:
            return cls(older, is_kept=False)
        held = json.loads(meta[COUNTS])
        rows = {int(layout): count for layout, count in held["rows"].items()}
        counts = [held["subjects"], held["events"], *rows.values()]
        if not all(type(count) is int and 0 <= count <= _MOST_ROWS for count in counts):
            raise Damaged("counts that can't be")
        return cls(older, held["subjects"], held["events"], rows)

    def to_text(self) -> str:
        """Write it as `of` reads it."""
        return json.dumps({"subjects": self.subjects, "events": self.events, "rows": self.rows})

    def extents(self, layouts: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return for every layout of a subject its first row and the row behind its last.

        Raises:
            Damaged: a layout that nobody counted.
        """
        numbers = list(layouts)
        if not self.rows.keys() >= set(numbers):
            raise Damaged("a layout that was never counted")
        ends = list(accumulate((self.rows[number] for number in numbers), initial=0))
        return dict(zip(numbers, pairwise(ends), strict=True))


def read_meta(file: sqlite3.Connection) -> dict[str, str]:
    """Return the meta table.

    Raises:
        Damaged: an entry is not what was written.
        sqlite3.Error: it can't be read.
    """
    held = file.execute("SELECT key, value FROM meta").fetchall()
    older = BEGUN not in {key for key, _ in held}
    return {key: unsealed_text(value, "meta", key, older=older) for key, value in held}


def write_meta(file: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Set entries of the meta table, each with its sum."""
    rows: list[tuple[Any, ...]] = [(key, sealed_text(value, "meta", key)) for key, value in values.items()]
    file.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
