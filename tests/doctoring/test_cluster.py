"""On a real Ray cluster of two nodes, one of which is killed while remedies race."""

import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from saying import last_object

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="optional: pip install ray")


@pytest.mark.slow
def test_a_node_that_dies_takes_no_verdict_with_it():
    script = Path(__file__).with_name("cluster.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert last_object(done.stdout) == {"verdict": "repaired", "alive": 1}


@pytest.mark.slow
def test_a_treatment_that_was_killed_goes_on_where_it_was(tmp_path):
    """Kill the process within the race, and see that the same call makes none of the trials again."""
    script = Path(__file__).with_name("killed.py")
    store = tmp_path / "kept.sweep"
    started = subprocess.Popen(
        [sys.executable, script, store], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 240
    while _done(store) < 6 and time.monotonic() < until:
        time.sleep(0.05)
    started.kill()
    started.communicate()
    before = _done(store)
    assert before >= 6
    finished = dict(sqlite3.connect(store).execute(KEYS))
    done = subprocess.run([sys.executable, script, store], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "repaired"
    again = dict(sqlite3.connect(store).execute(KEYS))
    assert all(again[key] == when for key, when in finished.items())


KEYS = "SELECT key, finished FROM cells WHERE status = 'done'"


def _done(store):
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as file:
            return len(file.execute(KEYS).fetchall())
    except sqlite3.Error:
        return 0
