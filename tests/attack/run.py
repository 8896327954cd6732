"""Attack everything that is read with many cases under a memory limit, and write what came of it.

    python tests/attack/run.py [CASES] [OUT.md] [PROCESSES]

The same number makes the same case: a failure is made again by its target's name and number (see `targets.outcome`).
"""

import contextlib
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from attack.targets import FAILURES, TARGETS, Room, counts, outcome
from undertow.processes import processors, spawning

CASES = 20_000
PART = 100
"""Cases that a process gets at a time."""

ROOM_TO_GROW = 1 << 30
"""Bytes that the process may take beyond what it has once everything is loaded."""

BEFORE = {
    "a Run's file, bits flipped": "9 of 600 silent",
    "a Run's numbers: nan, inf, huge, negative, steps too": "a row without a step ended every command",
    "report.json": "193 of 3,000 tracebacks",
    "the store of a sweep": "41 of 400 silent; a view ended in a traceback, a recursive one never",
    "a sweep's specification, values": "count = 10^8 and draws = 10^12 hung",
    "a request to undertow serve": "Origin: http://[ ended in a traceback",
}
"""What was found before the mechanisms were mended, where it was counted."""


def main(cases, out, processes):
    """Run all cases and write the page; return whether any failed."""
    parts = [
        (name, first, min(first + PART, count))
        for name, count in counts(cases).items()
        for first in range(0, count, PART)
    ]
    ended, failures, seconds, peak = {name: Counter() for name in TARGETS}, [], 0.0, 0.0
    with ProcessPoolExecutor(processes, spawning(), initializer=_begin) as pool:
        for part, made in zip(parts, pool.map(_attacked, parts), strict=True):
            ended[part[0]] += made.ended
            failures += made.failures
            seconds, peak = seconds + made.seconds, max(peak, made.peak)
            sys.stdout.write(f"{part[0]}, cases {part[1]:,} to {part[2] - 1:,}: {dict(made.ended)}\n")
            sys.stdout.flush()
    sys.stdout.writelines(f"{line}\n" for line in failures)
    rows = [(name, count, ended[name]) for name, count in counts(cases).items()]
    out.write_text(_page(rows, peak, seconds), encoding="utf-8")
    return bool(failures)


class Made(NamedTuple):
    """Hold what became of some cases: how they ended, what failed, seconds of a core, and the process's most MB."""

    ended: Counter[str]
    failures: list[str]
    seconds: float
    peak: float


_kept: list[tempfile.TemporaryDirectory[str]] = []
_room: list[Room] = []


def _begin():
    """Make a process ready: everything is loaded before memory is limited."""
    warnings.simplefilter("ignore")
    _kept.append(tempfile.TemporaryDirectory())
    _room.append(Room(Path(_kept[0].name)))
    for name in TARGETS:
        outcome(name, _room[0], 0)
    _limit_memory()


def _attacked(part):
    name, first, last = part
    ended, failures, began = Counter(), [], time.process_time()
    for seed in range(first, last):
        how, error = outcome(name, _room[0], seed)
        ended[how] += 1
        if how in FAILURES:
            failures.append(f"{name}, case {seed}: {how} {error!r}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Made(ended, failures, time.process_time() - began, peak)


def _limit_memory():
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        most = pages * resource.getpagesize() + ROOM_TO_GROW
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _page(rows, peak, seconds):
    total = Counter()
    for _, count, ended in rows:
        total["cases"] += count
        total.update(ended)
    failed = sum(total[each] for each in FAILURES)
    return TEXT.format(
        cases=f"{total['cases']:,}",
        minutes=f"{seconds / 60:.0f}",
        peak=f"{peak:,.0f}",
        failed=failed,
        table="\n".join(_row(*row) for row in rows),
    )


def _row(name, count, ended):
    known = [f"{ended[how]:,}" for how in ("refused", "told", "same", "done")]
    return (
        f"| {name} | {count:,} | {' | '.join(known)} | {sum(ended[how] for how in FAILURES)} | {BEFORE.get(name, '')} |"
    )


TEXT = Path(__file__).with_name("reliability.md.in").read_text(encoding="utf-8")


if __name__ == "__main__":
    given = sys.argv[1:]
    page = Path(given[1]) if len(given) > 1 else Path(__file__).parents[2] / "docs" / "reliability.md"
    sys.exit(main(int(given[0]) if given else CASES, page, int(given[2]) if len(given) > 2 else processors()))
