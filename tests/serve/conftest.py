import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from serve.making import HOSTILE, large, sigmoid, trained
from undertow.store import save_run

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
def serving(folder, *options):
    """``undertow serve`` as a user starts it; gives its address."""
    with process("-m", "undertow", "serve", folder, "--port", "0", *options) as started:
        said = started.stdout.readline()
        assert said.startswith("the runs are at http://"), said
        yield said.split()[4].rstrip(";").partition("?")[0]


@contextmanager
def training(path, pause=0.05):
    """A training that writes a Run; gives a function that tells the last step that was handed over, and when."""
    with process(HERE / "training.py", path, pause) as started:
        said = [started.stdout.readline()]
        reader = threading.Thread(target=lambda: said.extend(started.stdout), daemon=True)
        reader.start()

        def latest():
            step, when = said[-1].split()
            return int(step), float(when)

        def stop():
            started.stdin.write("\n")
            started.stdin.flush()
            started.wait(20)
            return latest()[0]

        latest.stop = stop
        yield latest
        started.terminate()
        reader.join(10)


@pytest.fixture(scope="session")
def small_run():
    return trained(60)


@pytest.fixture(scope="session")
def hostile_run():
    from torch import nn

    inner = sigmoid(2)
    net = nn.Sequential()
    for place, layer in enumerate(inner):
        net.add_module(f"{place}{HOSTILE}".replace(".", "․"), layer)
    run = trained(5, net)
    run.header["model"] = HOSTILE
    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory, small_run, hostile_run):
    """A folder with a Run, one in a folder of its own, a hostile one, and files that are none."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "deep").mkdir()
    save_run(small_run, folder / "first.undertow")
    save_run(small_run, folder / "deep" / "second & third.undertow")
    save_run(hostile_run, folder / f"{HOSTILE.replace('/', '')}.undertow")
    (folder / "broken.undertow").write_bytes(b"SQLite format 3\0 and then nothing of the kind" * 9)
    (folder / "notes.txt").write_text("not a run")
    return folder


@pytest.fixture(scope="session")
def large_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    save_run(large(), folder / "large.undertow")
    return folder


@pytest.fixture(scope="session")
def served(runs):
    with serving(runs) as address:
        yield address


@pytest.fixture
def get(served):
    with httpx.Client(base_url=served, timeout=20) as client:
        yield client.get
