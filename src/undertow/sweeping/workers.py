"""Workers that compute packs: this process itself, or processes of one thread beside it."""

import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

from undertow.processes import end_with_parent, one_thread_inherited, spawning
from undertow.sweeping.cells import CellOutcome, Pack, Tick, Work, unheard

REPORT_EVERY = 0.1
"""Seconds: reports of small cells travel together."""

MOST_FALSE_STARTS = 3


class PackReport(NamedTuple):
    """A pack that is over: its number in the task, its outcomes, its seconds."""

    place: int
    outcomes: list[CellOutcome]
    seconds: float


class WorkerEvent(NamedTuple):
    """News of a task.

    Attributes:
        task: its number.
        reports: packs that are over.
        ended: whether the whole task is.
        lost: why its worker was lost, if it was.
        ticks: the key of a pack's first cell and how many more steps of it are done, where its work tells.
    """

    task: int
    reports: list[PackReport]
    ended: bool
    lost: str = ""
    ticks: tuple[str, int] | None = None


class Workers(Protocol):
    """Compute packs. A task is a list of packs, computed one after the other."""

    @property
    def size(self) -> int:
        """Return how many tasks are computed at a time."""

    @property
    def room(self) -> int:
        """Return how many tasks could be taken now."""

    def submit(self, task: int, packs: Sequence[Pack]) -> None:
        """Take a task."""

    def events(self, timeout: float) -> list[WorkerEvent]:
        """Return what has happened; wait for something to, up to ``timeout`` seconds."""

    def close(self) -> None:
        """Stop, whatever is going on."""


def computed(work: Work, pack: Pack, place: int, tick: Tick = unheard) -> PackReport:
    """Compute a pack: the outcomes are results, or for each cell the error that the pack ended with."""
    start = time.perf_counter()
    try:
        outcomes = [CellOutcome(result) for result in work.run([cell.settings for cell in pack.cells], tick)]
    except (Exception, SystemExit) as error:  # whatever a user's function may raise
        message = f"{type(error).__name__}: {error}"
        outcomes = [CellOutcome(None, message, work.traceback(error))] * len(pack.cells)
    return PackReport(place, outcomes, time.perf_counter() - start)


class InProcess:
    """This process computes, one pack at a time, on one thread.

    Args:
        work: what is done for a cell.
    """

    size = 1

    def __init__(self, work: Work) -> None:
        self.work = work
        self.waiting: list[tuple[int, int, Pack, bool]] = []
        self._threads = _threads()
        work.prepare()

    @property
    def room(self) -> int:
        """One task at a time."""
        return 0 if self.waiting else 1

    def submit(self, task: int, packs: Sequence[Pack]) -> None:
        """Take a task."""
        self.waiting += [(task, place, pack, place == len(packs) - 1) for place, pack in enumerate(packs)]

    def events(self, timeout: float) -> list[WorkerEvent]:
        """Compute the next pack."""
        del timeout
        if not self.waiting:
            return []
        task, place, pack, last = self.waiting.pop(0)
        return [WorkerEvent(task, [computed(self.work, pack, place)], last)]

    def close(self) -> None:
        """Give torch its threads back."""
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)


def _threads() -> int | None:
    return int(sys.modules["torch"].get_num_threads()) if "torch" in sys.modules else None


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Any
    task: int | None = None
    ready: bool = False


class Processes:
    """Processes of one thread each. One that is killed is replaced, and its task reported lost.

    Args:
        work: what is done for a cell.
        size: how many.
    """

    def __init__(self, work: Work, size: int) -> None:
        self.work, self._size, self._false_starts = work, size, 0
        self._context = spawning()
        self._workers = [self._started() for _ in range(size)]

    @property
    def size(self) -> int:
        """Return how many processes there are."""
        return self._size

    @property
    def room(self) -> int:
        """Return how many of them have nothing to do."""
        return sum(worker.task is None for worker in self._workers)

    def submit(self, task: int, packs: Sequence[Pack]) -> None:
        """Give a task to an idle process, one that is up if there is."""
        idle = [worker for worker in self._workers if worker.task is None]
        worker = max(idle, key=lambda w: w.ready)
        worker.task = task
        with contextlib.suppress(OSError):  # it has just died: `events` will find out
            worker.pipe.send(list(packs))

    def events(self, timeout: float) -> list[WorkerEvent]:
        """Return what the processes report."""
        waited = [worker.pipe for worker in self._workers]
        there = set(connection.wait(waited, timeout))
        found = []
        for worker in list(self._workers):
            if worker.pipe in there:
                found += self._heard(worker)
        return found

    def close(self) -> None:
        """Terminate all processes."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def _heard(self, worker: _Worker) -> list[WorkerEvent]:
        try:
            kind, content = worker.pipe.recv()
        # Its end of the pipe is closed: the process is gone.
        except (EOFError, OSError):
            return self._replaced(worker)
        worker.ready = True
        if kind == "up":
            self._false_starts = 0
            return []
        if kind == "unfit":
            raise RuntimeError(f"a worker process could not start: {content}")
        assert worker.task is not None  # noqa: S101
        if kind == "tick":
            return [WorkerEvent(worker.task, [], ended=False, ticks=content)]
        event = WorkerEvent(worker.task, content, kind == "ended")
        if event.ended:
            worker.task = None
        return [event]

    def _replaced(self, worker: _Worker) -> list[WorkerEvent]:
        worker.process.join(5)
        worker.pipe.close()
        code = worker.process.exitcode
        why = f"killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= MOST_FALSE_STARTS:
                raise RuntimeError(f"worker processes don't start: the last was {why}")
        self._workers[self._workers.index(worker)] = self._started()
        message = f"the process that computed it was {why} (the usual reason is memory)"
        return [] if worker.task is None else [WorkerEvent(worker.task, [], True, message)]

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        with one_thread_inherited():
            process = self._context.Process(target=_serve, args=(theirs, self.work))
            process.start()
        theirs.close()
        return _Worker(process, ours)


def _serve(pipe: Any, work: Work) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    end_with_parent()
    try:
        work.prepare()
    except Exception as error:
        pipe.send(("unfit", f"{type(error).__name__}: {error}"))
        return
    pipe.send(("up", None))
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            _compute(pipe, work, pipe.recv())


def _tick(pipe: Any, key: str, steps: int) -> None:
    pipe.send(("tick", (key, steps)))


def _compute(pipe: Any, work: Work, packs: Sequence[Pack]) -> None:
    reports: list[PackReport] = []
    sent = time.monotonic()
    for place, pack in enumerate(packs):
        reports.append(computed(work, pack, place, partial(_tick, pipe, pack.cells[0].key)))
        if time.monotonic() - sent > REPORT_EVERY and place < len(packs) - 1:
            pipe.send(("done", reports))
            reports, sent = [], time.monotonic()
    pipe.send(("ended", reports))
