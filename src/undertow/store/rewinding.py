"""A training that goes on at a checkpoint: how far its Run went, and what it has behind the checkpoint put aside."""

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from undertow.record import Event
from undertow.store.appender import Appender
from undertow.store.database import create, for_reading, take_free_name
from undertow.store.errors import StoreError
from undertow.store.ledger import Ledger, read_meta
from undertow.store.packing import BROKEN
from undertow.store.reader import RunReader
from undertow.store.saving import meta
from undertow.store.series import PARAMETERS, SCALARS, TAPED, StoredSeries, explored

Explored = Mapping[str, Sequence[tuple[str, StoredSeries]]]
Numbers = NDArray[np.floating]

STEP_OF = {SCALARS: ("scalars", "step"), TAPED: ("steps", "step"), PARAMETERS: ("parameter_steps", "")}
"""The column that tells a row's step."""

ENDED, OFFSET = "went to", "optimizer steps before"
"""Entries of a Run's header: where a session ended, and what its optimizer had counted when the Run began."""


@dataclass(frozen=True)
class Progress:
    """Say how far a recorded training went.

    Attributes:
        steps: of the rows of scalars, in their order.
        backwards: passes so far at those steps; nan where nobody counted.
        skipped: steps that the optimizer didn't take.
        ended: ``step`` and ``backwards`` when the last session was closed; empty if it never was.
        offset: steps that the optimizer had counted before step 0; None if it doesn't count.
    """

    steps: Numbers = field(default_factory=lambda: np.empty(0))
    backwards: Numbers = field(default_factory=lambda: np.empty(0))
    skipped: Numbers = field(default_factory=lambda: np.empty(0))
    ended: Mapping[str, float] = field(default_factory=dict)
    offset: float | None = None

    @property
    def next_step(self) -> int:
        """Return the step after the last one that is known: at closing, or the last row's."""
        recorded = int(self.steps.max()) + 1 if len(self.steps) else 0
        return max(recorded, int(self.ended.get("step", 0)))

    def step_of(self, counted: int) -> int | None:
        """Return the step that follows so many that the optimizer has counted: it doesn't count skipped ones.

        Example:
            >>> Progress(skipped=np.array([2.0]), offset=0.0).step_of(3)
            4
        """
        step = int(counted - (self.offset or 0))
        if step <= 0:
            return None
        for each in np.unique(self.skipped):
            step += bool(each < step)
        return step

    def counted_at(self, step: int) -> int:
        """Return how many steps an optimizer has counted before this one, if it counted from the Run's first."""
        return step - int((np.unique(self.skipped) < step).sum())

    def backwards_at(self, step: int) -> int:
        """Return the backward passes before a step: recorded, or as many as the steps before had.

        Example:
            >>> Progress(np.array([0.0, 9.0]), np.array([2.0, 20.0])).backwards_at(11)
            22
        """
        if step == self.ended.get("step") and "backwards" in self.ended:
            return int(self.ended["backwards"])
        known = np.flatnonzero((self.steps < step) & np.isfinite(self.backwards))
        if not len(known):
            return 0
        last = known[np.argmax(self.steps[known])]
        return round(float(self.backwards[last] / (self.steps[last] + 1)) * step)


def progress(path: Path) -> Progress:
    """Read how far the Run in a file went; nothing where there is no Run that can be read.

    Example:
        >>> progress(Path("nowhere.undertow")).next_step
        0
    """
    try:
        file, held = for_reading(path)
        with held:
            known = read_meta(file)
            header, found = json.loads(known["header"]), explored(file, Ledger.of(known))
            columns = [_column(series, name) for _, series in found[SCALARS] for name in _NAMES]
    except (StoreError, sqlite3.Error, OSError, *BROKEN):
        return Progress()
    steps, backwards, skipped = columns[:3] if columns else [np.empty(0)] * 3
    ended, offset = header.get(ENDED), header.get(OFFSET)
    rows = np.isfinite(steps)
    return Progress(
        steps[rows],
        backwards[rows],
        steps[rows & (skipped == 1)],
        ended if isinstance(ended, dict) else {},
        float(offset) if isinstance(offset, int | float) else None,
    )


_NAMES = ("step", "backwards", "skipped")


def _column(series: StoredSeries, name: str) -> Numbers:
    key = "scalars", name
    return series.read(key)[:, 0] if key in series.kept else np.full(series.rows, np.nan)


def rewind(path: Path, step: int) -> Path:
    """Cut off what a Run has from a step on; what it was before is kept under another name, which is returned.

    Nobody may be writing to it. After a crash either file is there under the name, and whole.

    Raises:
        StoreError, sqlite3.Error, OSError: it can't be read, or no file written beside it.
    """
    with RunReader(path) as reader:
        events, last = reader.tail(None).events, int(progress(path).steps.max(initial=step))
    file, held = for_reading(path)
    with held:
        known = read_meta(file)
        found = explored(file, Ledger.of(known))
        kept = take_free_name(path)
        text = (
            f"Training went back to step {step}, from step {last}: what was recorded from there on is cut off here, "
            f"and kept in {kept.name}."
        )
        went_back = Event(step, math.nan, "rewind", text, {"to": step, "from": last, "kept in": kept.name})
        events = (*(each for each in events if each.step < step), went_back)

        def fill(to: sqlite3.Connection) -> None:
            sessions = file.execute("SELECT id, token, pid, host FROM sessions").fetchall()
            to.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?)", sessions)
            _copy(found, Appender(to), step, events)

        header = {key: value for key, value in json.loads(known["header"]).items() if key != ENDED}
        # Another run to readers, which would else go on where they were, behind its new end.
        create(path, meta(header, int(known["rank"]), int(known["world"])), fill, replacing=True)
    return kept


def _copy(found: Explored, into: Appender, step: int, events: Sequence[Event]) -> None:
    """Copy the rows about steps before one, and events."""
    for kind, at in STEP_OF.items():
        for about, series in found[kind]:
            rows = series.read(at)[:, 0] < step if at in series.kept else np.zeros(series.rows, bool)
            into.subject(kind, about)  # also one without rows: graphs keep their numbers
            if rows.any():
                into.bulk(kind, about, {key: series.read(key)[rows] for key in series.kept})
    for event in events:
        into.event(event)
    into.counted()
