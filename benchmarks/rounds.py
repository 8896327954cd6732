"""Timing side by side: every contender once in each round, so that whatever else the machine does hits all alike.

The clock is the CPU time of the process that does the work. With one thread on an idle machine that is the time on the
wall; on a busy one it leaves out the waiting for others, though not what they do to the caches.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Run = Callable[[], float | None]
"""Does the work; returns the seconds if it was done in another process."""


@dataclass(frozen=True)
class Times:
    """Seconds of every contender in every round."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def best(self, name: str) -> float:
        return min(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """Median over rounds of the ratio within a round."""
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure(contenders: Mapping[str, Run], rounds: int) -> Times:
    """Time all contenders in turn, ``rounds`` times, after one round that doesn't count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for counted in [False] + [True] * rounds:
        for name, run in contenders.items():
            start = time.process_time()
            elsewhere = run()
            here = time.process_time() - start
            if counted:
                seconds[name].append(here if elsewhere is None else elsewhere)
    return Times(seconds)


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, aligned."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
