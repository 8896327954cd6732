"""Reading a Run, whole or what came since."""

import os
from types import TracebackType
from typing import NamedTuple, Self

from undertow.record import Run


class Position(NamedTuple):
    """How far a file has grown: two that differ mean that something came."""

    run: str
    taped: int
    scalars: int
    parameters: int
    events: int
    header: int


class RunReader:
    """A Run's file, read as it grows (from any process and any thread)."""

    def __init__(self, path: str | os.PathLike[str], graph: int | None = None) -> None:
        raise NotImplementedError

    def refresh(self) -> Position:
        """How far the file has grown; next to nothing if it has not."""
        raise NotImplementedError

    def run(self) -> Run:
        """All of it, as `open_run` does."""
        raise NotImplementedError

    def tail(self, since: Position | None) -> Run:
        """The rows and events that came after ``since``, as a Run with everything else (header, Sites) whole."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_run(path: str | os.PathLike[str], graph: int | None = None) -> Run:
    """A Run from its file, also while it grows; the files of other ranks beside it are merged into it."""
    raise NotImplementedError
