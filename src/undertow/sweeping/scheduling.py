"""Schedule packs over workers: tasks of a sensible length, retries, packs that are cut in two."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from undertow.sweeping.cells import CellOutcome, Pack
from undertow.sweeping.store import Finished
from undertow.sweeping.workers import PackReport, WorkerEvent, Workers

LONGEST_TASK = 4.0
"""Seconds of small packs that are handed to a worker together."""

SHARES = 4
"""Towards the end a worker gets a quarter of its share of what is left, so that all end together."""

MOST_LOSSES = 3
"""A pack that took so many workers with it gets no other."""

WAIT = 0.2
"""Seconds between two looks at the clock, when nothing happens."""

Keep = Callable[[list[Finished]], object]
"""Takes the cells that are over."""


class Schedule:
    """The packs that wait and those that are being computed.

    Args:
        packs: all that is to be done.
        retries: how often a pack that failed is tried again, before it is cut in two or, a single cell, given up.
        longest_task: seconds of small packs that are handed to a worker together; 0 hands out every pack alone.

    Attributes:
        cost_done, cost_all: of packs, in the unit of their costs.
        seconds: that workers have spent on them.
    """

    def __init__(self, packs: Sequence[Pack], retries: int, longest_task: float = LONGEST_TASK) -> None:
        self.retries, self.longest_task = retries, longest_task
        self._numbers = count()
        self._waiting: list[tuple[float, int, Pack]] = []
        self._suspects: list[Pack] = []
        self._running: dict[int, dict[int, Pack]] = {}
        for pack in packs:
            self._add(pack)
        self.cost_all, self.cost_done, self.seconds = sum(pack.cost for pack in packs), 0.0, 0.0

    @property
    def over(self) -> bool:
        """Tell whether there is nothing left to do."""
        return not (self._waiting or self._suspects or self._running)

    @property
    def startable(self) -> bool:
        """Tell whether a task could be handed out."""
        return bool(self._waiting or self._suspects)

    def next_task(self, workers: int) -> tuple[int, list[Pack]]:
        """Return the next task: the longest pack that waits, or several that are short; a suspect is always alone."""
        if self._suspects:
            return self._handed_out([self._suspects.pop()])
        packs = [heapq.heappop(self._waiting)[2]]
        longest, cost = self._longest(workers), packs[0].cost
        while self._waiting and cost + self._waiting[0][2].cost <= longest:
            packs.append(heapq.heappop(self._waiting)[2])
            cost += packs[-1].cost
        return self._handed_out(packs)

    def heard(self, event: WorkerEvent) -> list[Finished]:
        """Note what happened to a task; returns the cells that are over for good."""
        running = self._running[event.task]
        finished = [cell for report in event.reports for cell in self._reported(running, report)]
        if event.ended:
            del self._running[event.task]
            if event.lost:
                finished += self._lost(list(running.values()), event.lost, event.timed_out)
        return finished

    def _add(self, pack: Pack) -> None:
        heapq.heappush(self._waiting, (-pack.cost, next(self._numbers), pack))

    def _handed_out(self, packs: list[Pack]) -> tuple[int, list[Pack]]:
        task = next(self._numbers)
        self._running[task] = dict(enumerate(packs))
        return task, packs

    def _longest(self, workers: int) -> float:
        """Return the cost of a task, in packs' unit; nothing is bundled before one pack has shown how long it takes."""
        if not self.seconds:
            return 0.0
        left = (self.cost_all - self.cost_done) / (SHARES * workers)
        return min(self.longest_task * self.cost_done / self.seconds, left)

    def _reported(self, running: dict[int, Pack], report: PackReport) -> list[Finished]:
        pack = running.pop(report.place)
        pack.attempts += 1
        failed = report.outcomes[0].error is not None
        if failed and pack.attempts <= self.retries:
            self._add(pack)
            return []
        if failed and len(pack.cells) > 1:
            self._cut(pack)
            return []
        self.cost_done += pack.cost
        self.seconds += report.seconds
        return _finished(pack, report.outcomes, report.seconds)

    def _lost(self, packs: list[Pack], why: str, timed_out: bool) -> list[Finished]:
        """Give every pack of a lost task a worker of its own: nobody knows which of them took the worker with it.

        A pack alone that takes too long is tried again only as often as one that fails: every try takes all its time.
        """
        finished: list[Finished] = []
        most = min(MOST_LOSSES, self.retries + 1) if timed_out else MOST_LOSSES
        for pack in packs:
            pack.losses += len(packs) == 1
            if pack.losses < most:
                self._suspects.append(pack)
            elif len(pack.cells) > 1:
                self._cut(pack)
            else:
                self.cost_done += pack.cost
                finished += _finished(pack, [CellOutcome(None, why)], 0.0)
        return finished

    def _cut(self, pack: Pack) -> None:
        """Halves, to find the cell that is to blame; a half that fails is cut again at once."""
        middle = len(pack.cells) // 2
        for part in (pack.cells[:middle], pack.cells[middle:]):
            cost = pack.cost * len(part) / len(pack.cells)
            self._suspects.append(replace(pack, cells=part, cost=cost, attempts=self.retries, losses=0))


def carry_out(
    schedule: Schedule, workers: Workers, keep: Keep, ticked: Callable[[str, int], object] | None = None
) -> None:
    """Have all packs of a schedule computed, and keep what becomes of their cells as it comes in.

    Args:
        schedule: the packs.
        workers: who computes them.
        keep: takes the cells that are over.
        ticked: takes a cell's key and how many more steps of its pack are done, where its work tells.
    """
    while not schedule.over:
        while schedule.startable and workers.room:
            workers.submit(*schedule.next_task(workers.size))
        events = workers.events(WAIT)
        for event in events:
            if ticked and event.ticks:
                ticked(*event.ticks)
        keep([cell for event in events for cell in schedule.heard(event)])


def _finished(pack: Pack, outcomes: Sequence[CellOutcome], seconds: float) -> list[Finished]:
    together, attempts = len(pack.cells), max(pack.attempts, pack.losses)
    return [
        Finished(cell.key, outcome, attempts, together, seconds / together)
        for cell, outcome in zip(pack.cells, outcomes, strict=True)
    ]
