"""A study's experiments side by side: every one is a cell that a sweep's processes of one thread compute.

Two threads inside one small ensemble gain nothing; two processes gain a factor of two. A result doesn't depend on how
many processors the machine has: every experiment runs on one thread wherever it runs.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from undertow.processes import processors
from undertow.sweeping.cells import Cell, Pack, Tick, unheard
from undertow.sweeping.labwork import loaded
from undertow.sweeping.scheduling import Schedule, carry_out
from undertow.sweeping.store import Finished
from undertow.sweeping.workers import InProcess, Processes, Workers

__all__ = ["Task", "Tick", "run_all"]

MOST_PROCESSES = 4
"""Each holds the data and a torch of its own; more would be faster, and fill the memory of a small machine."""

Experiment = Callable[..., Any]
"""``run(data, tick, **arguments)``: a function at the top level of a module, so that another process can find it.

It works on ``data`` and calls ``tick(n)`` after every n steps done.
"""


@dataclass(frozen=True)
class Task:
    """One experiment to run.

    Attributes:
        name: under which its result is returned; shown beside its bar.
        run: the experiment.
        steps: how many steps it will tick off.
        arguments: keyword arguments for it.
    """

    name: str
    run: Experiment
    steps: int
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExperimentWork:
    """Runs experiments in a process of its own; see `undertow.sweeping.cells.Work`.

    Attributes:
        data: name or path of the data set, which every process loads once.
    """

    data: str

    def prepare(self) -> None:
        """Take one thread, whatever the machine has, and load the data."""
        torch.set_num_threads(1)
        loaded(self.data)

    def run(self, cells: Sequence[Mapping[str, Any]], tick: Tick = unheard) -> list[Any]:
        """Run the experiments of these cells, whose only setting is the task."""
        tasks: list[Task] = [cell["task"] for cell in cells]
        return [task.run(loaded(self.data), tick, **task.arguments) for task in tasks]

    def traceback(self, error: BaseException) -> str:
        """Return all of it: what fails here is ours."""
        return "".join(traceback.format_exception(error))


def run_all(tasks: Sequence[Task], data: str, console: Console, processes: int | None = None) -> dict[str, Any]:
    """Run tasks, in their order, on as many processes as there are processors, up to four.

    Args:
        tasks: longest first keeps all processes busy until the end.
        data: name or path of the data set, as `undertow.lab.load` takes it.
        console: where the bars are drawn.
        processes: how many; by default one for each processor this process may use; 0 computes in this one.

    Returns:
        Each task's result under its name.

    Raises:
        RuntimeError: an experiment failed, or the process that ran it was killed again and again (the usual reason is
            memory).
    """
    packs = [Pack((Cell(task.name, {"task": task}),), cost=len(tasks) - i) for i, task in enumerate(tasks)]
    found: dict[str, Any] = {}
    with _Bars(console, tasks) as bars:

        def keep(finished: Sequence[Finished]) -> None:
            for each in finished:
                _check(each)
                found[each.key] = each.outcome.result
                bars.over(each.key)

        workers = _workers(ExperimentWork(data), len(tasks), processes)
        try:
            carry_out(Schedule(packs, retries=0, longest_task=0.0), workers, keep, bars.advance)
        finally:
            workers.close()
    return found


def _workers(work: ExperimentWork, tasks: int, processes: int | None) -> Workers:
    if processes == 0:
        return InProcess(work)
    return Processes(work, min(processes or processors(), tasks, MOST_PROCESSES))


def _check(finished: Finished) -> None:
    if finished.outcome.error is not None:
        error = RuntimeError(f"the experiment {finished.key!r} failed: {finished.outcome.error}")
        error.add_note(finished.outcome.traceback or "free some memory, or ask for fewer members")
        raise error


class _Bars:
    """A bar for every experiment that runs, and one for all of them."""

    def __init__(self, console: Console, tasks: Sequence[Task]) -> None:
        columns = TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(*columns, console=console)
        self._steps = {task.name: task.steps for task in tasks}
        self._bars: dict[str, TaskID] = {}
        self._all = self._progress.add_task("all experiments", total=len(tasks))

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, name: str, steps: int) -> None:
        """Move an experiment's bar, which is drawn when it is first heard of."""
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=self._steps[name])
        self._progress.advance(self._bars[name], steps)

    def over(self, name: str) -> None:
        """Take away the bar of an experiment that is over."""
        self._progress.advance(self._all)
        if name in self._bars:
            self._progress.update(self._bars[name], visible=False)
