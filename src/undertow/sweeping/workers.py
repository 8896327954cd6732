"""Workers that compute packs: this process itself, or processes of one thread beside it."""

import contextlib
import math
import multiprocessing
import pickle
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

from undertow.printable import printable, shortened, told
from undertow.processes import end_with_parent, main_hidden, one_thread_inherited, spawning
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
        timed_out: whether it was because a cell took too long.
        ticks: the key of a pack's first cell and how many more steps of it are done, where its work tells.
    """

    task: int
    reports: list[PackReport]
    ended: bool
    lost: str = ""
    ticks: tuple[str, int] | None = None
    timed_out: bool = False


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
    except KeyboardInterrupt:  # it is the driver's, where this is the driver's process
        if multiprocessing.parent_process() is None:
            raise
        outcomes = [CellOutcome(None, "KeyboardInterrupt: raised by the function itself")] * len(pack.cells)
    except BaseException as error:  # whatever a user's function may raise
        outcomes = [CellOutcome(None, told(error), _traceback(work, error))] * len(pack.cells)
    return PackReport(place, outcomes, time.perf_counter() - start)


def _traceback(work: Work, error: BaseException) -> str:
    try:
        return shortened(printable(work.traceback(error), lines=True))
    except Exception as second:  # it is made of texts that the user's objects write
        return f"the traceback can not be read: {told(second)}"


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
    cells: int = 0
    """Of the largest pack of its task."""
    heard: float = math.inf
    """When a pack of its task was last begun, as far as it has told."""


class Processes:
    """Processes of one thread each. One that is killed is replaced, and its task reported lost.

    Args:
        work: what is done for a cell.
        size: how many.
        timeout: seconds that a cell may take, after which its process is killed.
        main: whether processes run the script that was started; without it, ``work`` must not need it.
    """

    def __init__(self, work: Work, size: int, timeout: float = math.inf, main: bool = True) -> None:
        self._starting = contextlib.nullcontext if main else main_hidden
        self.work, self._size, self._false_starts, self._timeout = work, size, 0, timeout
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
        worker.task, worker.cells = task, max((len(pack.cells) for pack in packs), default=1)
        worker.heard = time.monotonic() if worker.ready else math.inf
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
            elif worker.task is not None and time.monotonic() - worker.heard > self._timeout * worker.cells:
                worker.process.kill()
                found += self._replaced(worker, f"it took longer than the {self._timeout:g} seconds of [run] timeout")
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
        except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, ValueError) as error:
            worker.process.kill()
            return self._replaced(worker, f"what it sent can not be read here ({told(error)})")
        worker.heard = worker.heard if kind == "tick" else time.monotonic()
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

    def _replaced(self, worker: _Worker, late: str = "") -> list[WorkerEvent]:
        worker.process.join(5)
        worker.pipe.close()
        why = _ending(worker.process.exitcode)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= MOST_FALSE_STARTS:
                raise RuntimeError(f"worker processes don't start: the last {why}")
        self._workers[self._workers.index(worker)] = self._started()
        message = late or f"the process that computed it {why}"
        return [] if worker.task is None else [WorkerEvent(worker.task, [], True, message, timed_out=bool(late))]

    def _started(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        with one_thread_inherited(), self._starting():
            process = self._context.Process(target=_serve, args=(theirs, self.work))
            process.start()
        theirs.close()
        return _Worker(process, ours)


def _ending(code: int | None) -> str:
    """Say how a process ended: only who was killed from outside may have run out of memory."""
    if code is None or code >= 0:
        return f"ended by itself with code {code}: its function, or a library, called exit"
    if -code == signal.SIGKILL:
        return "was killed by signal 9 (the usual reason is memory)"
    return f"was killed by signal {-code} ({_signal_name(-code)})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _serve(pipe: Any, work: Work) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    end_with_parent()
    try:
        work.prepare()
    except Exception as error:
        pipe.send(("unfit", told(error)))
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
