"""`WriterThread` takes what waits in a queue, five times a second, and commits it to the Run's file.

`PendingWarnings` keeps the warnings that arise on it until the thread that trains can give them.
"""

import logging
import sqlite3
import sys
import threading
import warnings
from collections.abc import Callable, Sequence

from undertow.store import Batch, RunFile, WritingEnded
from undertow.watching.write_queue import Item, WriteQueue

_log = logging.getLogger("undertow")


class PendingWarnings:
    """Collects what went wrong, each kind once, until the thread that trains gives the warnings.

    Attributes:
        trouble: why nothing can be written at the moment, or None.

    Example:
        >>> pending = PendingWarnings()
        >>> pending.trouble_with("now", "the disk is full")
        >>> pending.trouble
        'the disk is full'
    """

    def __init__(self) -> None:
        self.trouble: str | None = None
        self._waiting: list[str] = []
        self._kinds: set[str] = set()

    def add(self, kind: str, message: str) -> None:
        """Have a warning given, unless there was one of this kind already."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._waiting.append(message)

    def trouble_with(self, kind: str, message: str) -> None:
        """Say why nothing can be written, and have a warning given."""
        self.trouble = message
        self.add(kind, message)

    def give(self) -> None:
        """Give the warnings that wait, from the thread that calls this."""
        if not self._waiting:  # asked at everything that is recorded
            return
        messages, self._waiting = self._waiting, []
        for message in messages:
            warn_or_log(f"undertow: {message}")


def warn_or_log(message: str) -> None:
    """Warn, of the line that called undertow; where warnings are made errors, write to the log instead.

    A training run must not end by it.
    """
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=_outside())
    except RuntimeWarning:
        _log.warning("%s", message)


def _outside() -> int:
    """Count the calls from the function that asks to the first line that isn't undertow's."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("undertow."):
        level, frame = level + 1, frame.f_back
    return level


GATHER = 0.2
"""Seconds of training that one transaction holds; a killed process loses two or three of them."""

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each further attempt to write to a file that can't be written at the moment."""

_TROUBLE = (sqlite3.Error, OSError)
_log = logging.getLogger("undertow")


class WriterThread:
    """Writes what comes through a queue. It ends when the queue is closed and empty, or the file out of reach for good.

    Args:
        file: of the Run; this closes it.
        queue: what waits.
        warnings: takes what goes wrong.
    """

    def __init__(self, file: RunFile, queue: WriteQueue, warnings: PendingWarnings) -> None:
        self._file, self._queue, self._warnings = file, queue, warnings
        self._batch: Batch | None = None
        self._last_calls: list[Callable[[], object]] = []
        self._thread = threading.Thread(target=self._work, name="undertow writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended; whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def takes(self, item: Item) -> bool | None:
        """Add an item to the batch that is being made, if it comes from the thread itself; None if it doesn't."""
        if self._batch is None or threading.current_thread() is not self._thread:
            return None
        return self._add(self._batch, item)

    def _work(self) -> None:
        try:
            while not self._queue.stopped:
                items, missed, ended = self._queue.take(GATHER)
                if ended and not missed.counts:
                    break
                if not items and not missed.counts:  # what came may be followed by more about the same step
                    continue
                batch = self._made(items)
                if missed.counts:
                    batch.events.append(missed.event())
                self._write(batch)
                self._queue.done(items)
        except Exception as error:  # whatever it is, training goes on
            self._give_up(f"{type(error).__name__}: {error}")
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self._file.close()
            wrong = self._file.damage
        except Exception as error:  # whatever it is, it is told
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            self._warnings.trouble_with("gone", f"{self._file.path} can't be read as it should: {wrong}")

    def _made(self, items: Sequence[Item]) -> Batch:
        self._batch = batch = Batch()
        for item in items:
            self._add(batch, item)
        while self._last_calls:
            self._add(batch, Item("later", None, 0, (self._last_calls.pop(),)))
        self._batch = None
        return batch

    def _add(self, batch: Batch, item: Item) -> bool:
        try:
            if item.what == "later":
                last = item.content[0]()
                if callable(last) and last not in self._last_calls:
                    self._last_calls.append(last)
            else:
                getattr(batch, item.what)(*item.content)
        except Exception as error:  # a callable of somebody else, numbers of somebody else
            what = f"{item.what} of step {item.step} can't be recorded"
            self._warnings.add("item", f"{what}: {type(error).__name__}: {error}")
            return False
        return True

    def _write(self, batch: Batch) -> None:
        """Commit a batch, again and again while the disk is full or out of reach."""
        pauses = iter(_PAUSES)
        while True:
            try:
                self._file.commit(batch)
            except WritingEnded as error:
                self._give_up(str(error))
            except _TROUBLE as error:
                what = f"{self._file.path} can't be written at the moment: {error}. Steps wait in memory for now"
                self._warnings.trouble_with("now", what)
                if self._queue.pause(next(pauses, _PAUSES[-1])):
                    continue
                self._queue.stop()
                _log.warning(
                    "undertow: the last steps of %s are lost: %s", self._file.path, error
                )  # of which it is told
            else:
                self._warnings.trouble = None
            return

    def _give_up(self, why: str) -> None:
        self._queue.stop()
        self._warnings.trouble_with("gone", f"{self._file.path} is recorded no further: {why}")
