"""What watching costs in two checkouts, side by side: each in a process of its own, asked in turn.

    OMP_NUM_THREADS=1 python benchmarks/beside.py ../before/src src --every 1

Of each single step the CPU time of the thread that trains is taken, and of all of them that of the writer's thread. On
a machine that others use, too, most steps are disturbed; the quickest in a hundred are not, and tell the same each
time. What is paid once, at the beginning, isn't in it.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rounds import table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs=2, help="folders that hold the package: before, after")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=int, nargs="*", default=range(3), help="numbers of the models of watch.py")
    arguments = parser.parse_args()
    for number in arguments.only:
        found: dict[tuple[str, int], list[list[float]]] = {}
        for _ in range(arguments.rounds):
            for source in arguments.sources:
                for every in (0, arguments.every):
                    one = measured(source, number, every, arguments.steps)
                    found.setdefault((source, every), []).append(one)
        print(table(HEADER, rows(number, found, arguments)), end="\n\n", flush=True)


HEADER = ["model", "source", "unwatched, us", "watched, us", "writer's thread, us", "x unwatched"]


def rows(
    number: int, found: dict[tuple[str, int], list[list[float]]], arguments: argparse.Namespace
) -> list[list[object]]:
    """Give the best of all rounds of the thread that trains, and the writer's median."""
    lines: list[list[object]] = []
    for source in arguments.sources:
        plain = min(step for step, _ in found[source, 0])
        step = min(step for step, _ in found[source, arguments.every])
        writer = statistics.median(writer for _, writer in found[source, arguments.every])
        ratio = (step + writer) / plain
        lines.append([number, source, f"{plain:.0f}", f"{step:.0f}", f"{writer:.0f}", f"{ratio:.2f}"])
    return lines


def measured(source: str, number: int, every: int, steps: int) -> list[float]:
    """Run one round in a process that has this source; ``every``: 0 for the unwatched loop."""
    environment = {**os.environ, "PYTHONPATH": str(Path(source).resolve())}
    command = [sys.executable, __file__, "work", *map(str, (number, every, steps))]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [float(each) for each in said.split()]


def work(number: int, every: int, steps: int) -> None:
    """Print microseconds a step: of the quickest in a hundred on this thread, and the mean of all other threads."""
    import torch  # in the processes that measure only

    import undertow
    import watch

    @contextlib.contextmanager
    def watched(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[watch.Attached]:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            flush = None
            if every:
                watcher = undertow.watch(model, optimizer, Path(folder, "first.undertow"), every=every)
                flush = stack.enter_context(watcher).flush
            yield watch.Attached(write=flush)

    case = watch.CASES[number]
    torch.manual_seed(0)
    model = case.model()
    optimizer = case.optimizer(model)
    with watched(model, optimizer) as attached:
        for _ in range(40):
            watch.step(case, model, optimizer, attached)
        each, began, all_began = [], time.thread_time(), time.process_time()
        for _ in range(steps):
            start = time.thread_time()
            watch.step(case, model, optimizer, attached)
            each.append(1e6 * (time.thread_time() - start))
        if attached.write is not None:
            attached.write()
        others = (time.process_time() - all_began) - (time.thread_time() - began)
    print(sorted(each)[steps // 100], 1e6 * others / steps)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(*map(int, sys.argv[2:]))
    else:
        main()
