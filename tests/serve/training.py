"""A real training in a process of its own: python training.py FILE SECONDS_A_STEP. It goes on until it is told to stop
by a line on its standard input, and says every step it has handed over."""

import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from making import sigmoid, steps_of_training

from undertow.store import RunWriter


def main(path: str, pause: float) -> None:
    ends = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ends.set()), daemon=True).start()
    with RunWriter(path, {"model": "Sequential", "parameters": 2_604}) as writer:
        for step in steps_of_training(sigmoid(), 1_000_000):
            write(writer, step)
            print(step["step"], time.time(), flush=True)  # noqa: T201
            if ends.wait(pause):
                break


def write(writer, step):
    graph = writer.graph(step["sites"], step["edges"])
    columns = step["columns"]
    writer.scalars(step["step"], step["time"], step["values"])
    writer.taped(step["step"], step["time"], graph, columns.by_site, columns.by_edge, step["values"])


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
