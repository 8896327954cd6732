"""`WriteQueue`: what waits to be written, bounded in bytes, and a count of what found no room."""

import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from undertow.record import Event


class Item(NamedTuple):
    """Something to write: the name of a method of `undertow.store.Batch` and its arguments, or ``"later"`` and a call.

    Attributes:
        what: the method's name.
        step: the step that it belongs to, None if it belongs to none.
        nbytes: memory that it holds.
        content: the arguments.
    """

    what: str
    step: int | None
    nbytes: int
    content: tuple[Any, ...]


@dataclass
class Missed:
    """Counts the items that found no room since that was last said.

    Attributes:
        counts: how many of each kind.
        steps: the first and the last step among them; empty if none belonged to a step.
    """

    counts: dict[str, int] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)

    def note(self, item: Item) -> None:
        """Count one more."""
        self.counts[item.what] = self.counts.get(item.what, 0) + 1
        if item.step is not None:
            self.steps = [min(item.step, *self.steps), max(item.step, *self.steps)] if self.steps else [item.step] * 2

    def event(self) -> Event:
        """Return the event that tells the Run of the gap."""
        first, last = self.steps or (-1, -1)
        counted = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        message = f"not recorded between steps {first} and {last}, because the disk was too slow: {counted}"
        return Event(first, float("nan"), "thinned", message, {"first": first, "last": last, **self.counts})


class WriteQueue:
    """Stands between the thread that trains and the one that writes. Nothing but `take`, `pause` and `flush` waits.

    Args:
        room: bytes that may wait.

    Attributes:
        closing: no more is taken, and what is there is still written.
        stopped: no more is taken, and what was there is dropped.
    """

    def __init__(self, room: int) -> None:
        self._room, self._held = room, 0
        self._items: list[Item] = []
        self._kept: list[Item] = []
        self._missed = Missed()
        self._given = self._done = 0
        self._hurried = self.closing = self.stopped = False
        self._changed = threading.Condition()

    def put(self, item: Item, room: float = 1.0) -> bool:
        """Take an item, if there is room for it: ``room`` times as much as for others."""
        with self._changed:
            if self.closing or self.stopped:
                return False
            if self._held + item.nbytes > self._room * room:
                self._missed.note(item)
                return False
            self._held += item.nbytes
            self._given += 1
            self._items.append(item)
            if len(self._items) == 1:
                self._changed.notify_all()
            return True

    def take(self, gather: float) -> tuple[list[Item], Missed, bool]:
        """Wait until there is something, then ``gather`` seconds for more, and return it.

        Items about the newest step stay behind, as others of the same step may follow: they come with the next call,
        which waits no longer than ``gather``.

        Returns:
            The items, what found no room, and whether there is nothing more to come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.closing or self._hurried, gather if self._kept else None)
            more = bool(self._items)
            self._changed.wait_for(lambda: self._hurried or self.closing, gather if more else 0)
            items = [*self._kept, *self._items]
            self._items, missed, self._missed = [], self._missed, Missed()
            end = len(items) if self._hurried or self.closing or not more else _newest(items)
            self._kept, self._hurried = items[end:], False
            return items[:end], missed, self.closing and not items

    def done(self, items: list[Item]) -> None:
        """Say that these are written, or never will be."""
        with self._changed:
            self._held -= sum(item.nbytes for item in items)
            self._done += len(items)
            self._changed.notify_all()

    def pause(self, seconds: float) -> bool:
        """Wait before another attempt to write; whether there is to be one."""
        with self._changed:
            self._changed.wait_for(lambda: self._hurried or self.closing, seconds)
            self._hurried = False
            return not self.closing

    def flush(self, timeout: float) -> bool:
        """Wait until everything given so far is written; whether it is."""
        with self._changed:
            goal, self._hurried = self._given, True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= goal or self.stopped, timeout) and not self.stopped

    def close(self) -> None:
        """Take no more; what is there is still written."""
        self._end("closing")

    def stop(self) -> None:
        """Take no more, and drop what is there."""
        self._end("stopped")
        with self._changed:
            self._items, self._kept = [], []

    def _end(self, how: str) -> None:
        with self._changed:
            setattr(self, how, True)
            self._changed.notify_all()


def _newest(items: list[Item]) -> int:
    """Find the place where the items about the last item's step begin."""
    step = next((item.step for item in reversed(items) if item.step is not None), None)
    place = len(items)
    while place and step is not None and items[place - 1].step in (step, None):
        place -= 1
    return place
