"""Read what a Run's file has got since the last look, whether one process writes it or many."""

import time
from pathlib import Path

from undertow.record import Run
from undertow.store import Position, RunReader, open_run
from undertow.store.rank_paths import other_ranks

MERGE_SHARE = 10.0
"""Files of several ranks are merged as a whole: never for more than a tenth of the time."""


TRIES = 5
"""Looks for a moment in which nothing comes."""


class Growth:
    """Follows a Run's file, and the files of other ranks beside it.

    Attributes:
        count: rises with everything that came.

    Raises:
        StoreError: as `RunReader` does, here and later.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path
        self._readers: dict[Path, RunReader] = {path: RunReader(path)}
        self._positions: dict[Path, Position] = {}
        self._whole: Run | None = None
        self._shown: Run | None = None
        self._not_before = 0.0

    def grown(self) -> tuple[Run, bool] | None:
        """The rows that came, and whether these are all rows, to begin anew with; None if nothing came."""
        for rank in other_ranks(self._path):
            if rank not in self._readers:
                self._readers[rank] = RunReader(rank)
        return self._merged() if len(self._readers) > 1 else self._alone()

    def run(self) -> Run:
        """All of it."""
        return self._whole or self._readers[self._path].run()

    def step(self, row: int) -> tuple[Run, int]:
        """A Run that holds the taped step ``row`` of all that have come, and the step's place in it."""
        return (self._whole, row) if self._whole is not None else (self._readers[self._path].at(row), 0)

    def close(self) -> None:
        """Let go of all files."""
        for reader in self._readers.values():
            reader.close()

    def _alone(self) -> tuple[Run, bool] | None:
        reader, since = self._readers[self._path], self._positions.get(self._path)
        if reader.refresh() == since:
            return None
        position, fresh = _first(reader) if since is None else reader.grown(since)
        known = self._shown
        whole = since is None or known is None or since.run != position.run or not _alike(known, fresh)
        if whole and since is not None:
            position, fresh = _first(reader)
        self._positions[self._path], self._shown = position, fresh
        self.count += 1
        return fresh, whole

    def _merged(self) -> tuple[Run, bool] | None:
        positions = {path: reader.refresh() for path, reader in self._readers.items()}
        if positions == self._positions or time.monotonic() < self._not_before:
            return None
        began = time.monotonic()
        self._whole, self._positions = open_run(self._path), positions
        self._not_before = time.monotonic() + MERGE_SHARE * (time.monotonic() - began)
        self.count += 1
        return self._whole, True


def _first(reader: RunReader) -> tuple[Position, Run]:
    """All there is, of which only what is asked for will be read: that is half, of a long Run."""
    for _ in range(TRIES):
        position = reader.refresh()
        run = reader.run()
        if reader.refresh() == position:
            return position, run
    return reader.grown(None)


def _alike(one: Run, other: Run) -> bool:
    """Tell whether rows of one can follow rows of the other: not if the graph that is shown is another now."""
    return one.sites == other.sites and one.edges == other.edges and one.parameters == other.parameters
