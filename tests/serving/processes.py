"""Real servers and real trainings, each in a process of its own."""

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def process(*command, **given):
    """A process that is asked to stop at the end, and killed if it doesn't."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    started = subprocess.Popen(
        [sys.executable, *map(str, command)], stdin=-1, stdout=-1, text=True, env=environment, **given
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.communicate()


@contextmanager
def serving(folder, *options, port=0):
    """``undertow serve`` as a user starts it; gives its address."""
    with process("-m", "undertow", "serve", folder, "--port", port, *options) as started:
        said = started.stdout.readline()
        assert said.startswith("the runs are at http://"), said
        yield said.split()[4].rstrip(";").partition("?")[0]


@contextmanager
def training(path, pause=0.05):
    """A training that writes a Run; gives a function that tells the last step that was handed over, and when.

    Its ``all()`` tells every one; its ``stop()`` lets the training end by itself and tells the last step.
    """
    with process(HERE / "training.py", path, pause) as started:
        said = [started.stdout.readline()]
        reader = threading.Thread(target=lambda: said.extend(started.stdout), daemon=True)
        reader.start()

        def every():
            return [(int(step), float(when)) for step, when in map(str.split, list(said))]

        def latest():
            return every()[-1]

        def stop():
            started.stdin.write("\n")
            started.stdin.flush()
            started.wait(20)
            return latest()[0]

        latest.stop, latest.all = stop, every
        yield latest
        started.terminate()
        reader.join(10)
