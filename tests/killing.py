"""A process that writes a Run, to be killed at any moment, and what must be true of its file afterwards."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from undertow.store import open_run

SITES, COLUMNS = 400, ("grad_output", "grad_input", "weight_norm", "dead")

WRITES = """
import sys, time
import numpy as np
from undertow.record import Site, Role
from undertow.watching import RunWriter
path, journal, sites, columns = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].split(",")
writer = RunWriter(path, {}, resume=True, journal=journal)
graph = writer.graph([Site(i, f"layers.{i}", "addmm", Role.WEIGHT) for i in range(sites)], [])
first = step = writer.reached[0] + 1
print(first, time.time(), flush=True)
while True:
    rows = {name: np.arange(sites, dtype=np.float32) + step * (1 + place) for place, name in enumerate(columns)}
    assert writer.scalars(step, time.time(), {"loss": -step}) and writer.taped(step, time.time(), graph, rows, {}, {})
    step += 1
    if step == first + 50:
        print(writer.flush() and step, flush=True)
    time.sleep(0.001)
"""


def start(path: Path, journal: str) -> "subprocess.Popen[str]":
    """Begin to write, or go on where an earlier one was killed."""
    command = [sys.executable, "-c", WRITES, str(path), journal, str(SITES), ",".join(COLUMNS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(process: "subprocess.Popen[str]", after: float, begun: bool = True) -> tuple[float, list[float]]:
    """``kill -9`` so many seconds after its first step, or after its start; when that was, and what it had said.

    It says its first step, the time then, and a little later how many steps it knows to be on disk.
    """
    first = process.stdout.readline() if begun else ""
    time.sleep(after)
    killed = time.time()
    process.kill()
    told, _ = process.communicate()
    return killed, list(map(float, f"{first}{told}".split()))


def whole_steps(path: Path) -> tuple[int, float]:
    """How many steps there are, and when the last one was written; an error if any is missing or torn."""
    run = open_run(path)
    steps = run.scalars.get("step", np.empty(0))
    assert np.array_equal(steps, np.arange(len(steps))), "a step is missing"
    assert np.array_equal(run.scalars["loss"], -steps) if len(steps) else True
    taped = run.steps.get("step", np.empty(0))
    assert np.array_equal(taped, np.arange(len(taped))), "a recorded step is missing"
    assert len(taped) == len(steps), "half of a step"
    for place, name in enumerate(COLUMNS if len(taped) else ()):
        assert np.array_equal(run.columns[name], np.arange(SITES) + taped[:, None] * (1 + place)), "a torn step"
    return len(steps), float(run.scalars["time"][-1]) if len(steps) else 0.0
