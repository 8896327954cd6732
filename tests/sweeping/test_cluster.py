"""On a real Ray cluster of two nodes, one of which is killed while the sweep runs."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from saying import last_object
from undertow.sweeping import open_sweep, sweep

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="optional: pip install ray")


SPEC = """
seeds = 4
[cell]
data = "digits"
images = 500
activation = "tanh"
cost = "log-likelihood"
bias_var = 0.05
epochs = 10
[grid]
depth = [2, 6, 10]
weight_var = [0.5, 1.0, 1.5, 2.0]
[run]
members = 4
"""


def test_a_node_that_dies_loses_nothing_and_changes_no_bit(tmp_path):
    spec, far, near = (tmp_path / name for name in ("s.toml", "far.sweep", "near.sweep"))
    spec.write_text(SPEC)
    script = Path(__file__).with_name("cluster.py")
    done = subprocess.run([sys.executable, script, spec, far, "12"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = last_object(done.stdout)
    assert told["alive"] == 1
    assert 12 <= told["done_when_killed"] < 48, "the node died while there was work left"
    assert (told["done"], told["failed"], told["waiting"]) == (48, 0, 0)
    here = sweep(spec, near, processes=0)
    assert open_sweep(far).rows() == here.rows()


def test_a_cluster_that_isnt_there_is_said_so(tmp_path, command):
    (tmp_path / "s.toml").write_text(SPEC)
    process = command("s.toml", "--ray", "127.0.0.1:9")
    err = " ".join(process.communicate(timeout=120)[1].split())
    assert process.returncode == 2
    assert "no Ray cluster at '127.0.0.1:9'" in err
    assert "ray start --head" in err
