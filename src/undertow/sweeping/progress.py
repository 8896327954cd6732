"""How far a sweep is, in a line that moves: cells, networks a second, failures, and when it will be over."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from undertow.sweeping.scheduling import Schedule

BY_TIME_AFTER = 2.0
"""Seconds before which no forecast is made."""


class ProgressLine:
    """The line of a running sweep; a context manager.

    Args:
        console: where it is drawn.
        cells: how many there are to do.
        schedule: whose costs say how much of the work is done.
    """

    def __init__(self, console: Console, cells: int, schedule: Schedule) -> None:
        self.schedule, self.failed, self.done, self._start = schedule, 0, 0, time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"),
            TextColumn("{task.fields[summary]}"), TimeElapsedColumn(), console=console,
        )  # fmt: skip
        self._bar = self._bars.add_task("sweep", total=cells, summary="")

    def __enter__(self) -> "ProgressLine":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def advance(self, done: int, failed: int) -> None:
        """So many more cells are over, of which so many failed."""
        self.done, self.failed = self.done + done, self.failed + failed
        self._bars.update(self._bar, completed=self.done, summary=self.summary(time.monotonic() - self._start))

    def summary(self, elapsed: float) -> str:
        """Rate, failures and forecast after so many seconds."""
        parts = [f"{self.done / elapsed:.3g} a second"] if self.done and elapsed else []
        parts += [f"[red]{self.failed} failed[/red]"] if self.failed else []
        left = remaining(elapsed, self.schedule.cost_done, self.schedule.cost_all)
        return ", ".join(parts + ([f"about {duration(left)} left"] if left else []))


def remaining(elapsed: float, done: float, whole: float) -> float | None:
    """Seconds until the end, going by the cost done in those elapsed; None while it is too early to say.

    Example:
        >>> remaining(elapsed=10.0, done=25.0, whole=100.0)
        30.0
    """
    if elapsed < BY_TIME_AFTER or not done:
        return None
    return elapsed * (whole - done) / done


def duration(seconds: float) -> str:
    """Return a time that a reader takes in.

    Example:
        >>> duration(8.4), duration(125), duration(7300)
        ('8 s', '2 min 5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
