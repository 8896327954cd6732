"""Experiments side by side in processes, one thread each, with progress bars.

Two threads inside one small ensemble gain nothing; two processes gain a factor of two. And a result then doesn't
depend on how many processors the machine has: every task runs on one thread wherever it runs.
"""

import queue as queues
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from undertow.lab import Dataset, load
from undertow.processes import end_with_parent, processors, spawning

Tick = Callable[[int], None]
MOST_PROCESSES = 4
"""Each holds the data and a torch of its own; more would be faster, and fill the memory of a small machine."""

LOOK_EVERY = 0.1
"""Seconds between two looks at what the processes report."""


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


def run_all(tasks: Sequence[Task], data: str, console: Console, processes: int | None = None) -> dict[str, Any]:
    """Run tasks, in their order, on as many processes as there are processors, up to four.

    Args:
        tasks: longest first keeps all processes busy until the end.
        data: name or path of the data set, as `undertow.lab.load` takes it; every process loads it once.
        console: where the bars are drawn.
        processes: how many; by default one for each processor this process may use.

    Returns:
        Each task's result under its name.

    Raises:
        RuntimeError: a process died (the usual reason is memory). An error inside a task is raised as it is.
    """
    context = spawning()
    reports = context.Queue()
    workers = min(processes or processors(), len(tasks), MOST_PROCESSES)
    pool = ProcessPoolExecutor(workers, context, _start, (data, reports))
    try:
        futures = {task.name: pool.submit(_run, task) for task in tasks}
        with _progress(console) as bars:
            _follow(tasks, futures, reports, bars)
        return {name: future.result() for name, future in futures.items()}
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker process was killed, most likely for lack of memory: free some, or ask for fewer members"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((pool._processes or {}).values()):  # shutdown alone lets running tasks finish first
            process.terminate()


def _follow(tasks: Sequence[Task], futures: Mapping[str, Future[Any]], reports: Any, bars: Progress) -> None:
    whole = bars.add_task("all experiments", total=len(tasks))
    started: dict[str, TaskID] = {}
    steps = {task.name: task.steps for task in tasks}
    while True:
        finished = [name for name, future in futures.items() if future.done()]
        for name in finished:
            futures[name].result()  # an error in one is the end of all
        for name, n in _drain(reports):
            if name not in started:
                started[name] = bars.add_task(name, total=steps[name])
            bars.advance(started[name], n)
        for name in finished:
            if name in started:
                bars.update(started[name], visible=False)
        bars.update(whole, completed=len(finished))
        if len(finished) == len(tasks):
            return


def _drain(reports: Any) -> list[tuple[str, int]]:
    """Wait a moment for the first report, then take all there are."""
    taken = []
    try:
        taken.append(reports.get(timeout=LOOK_EVERY))
        while True:
            taken.append(reports.get_nowait())
    except queues.Empty:
        return taken


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


_data: Dataset
_reports: Any


def _start(data: str, reports: Any) -> None:
    global _data, _reports
    end_with_parent()
    torch.set_num_threads(1)
    _data, _reports = load(data), reports


def _run(task: Task) -> Any:
    return task.run(_data, lambda n: _reports.put((task.name, n)), **task.arguments)
