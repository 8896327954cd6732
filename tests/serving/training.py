"""A real training that is watched, in a process of its own: python training.py FILE SECONDS_A_STEP. It goes on until it
is told to stop by a line on its standard input, and says every step that is done.
"""

import sys
import threading
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import undertow
from sample_runs import sigmoid, training


def main(path: str, pause: float) -> None:
    ends = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ends.set()), daemon=True).start()
    torch.set_num_threads(1)
    net = sigmoid()
    optimizer, data = torch.optim.SGD(net.parameters(), lr=0.5), torch.Generator().manual_seed(1)
    with undertow.watch(net, optimizer, path, every=1) as watcher:
        while not ends.wait(pause):
            step = watcher.step
            training(net, optimizer, data)
            print(step, time.time(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
