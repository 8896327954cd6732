"""Random numbers are as they were, whatever an examination loads, draws or raises."""

import random
import subprocess
import sys

import pytest
from torch import nn

from undertow.examination import examine

SCRIPT = """
import random, torch, undertow
net, x = torch.nn.Linear(3, 1), torch.ones(4, 3)
random.seed(0)
before = random.getstate()
undertow.examine(net, lambda: net(x).square().mean())
assert random.getstate() == before
undertow.explain, undertow.watch, undertow.theory, undertow.sweep
assert random.getstate() == before
"""


def test_loading_undertow_leaves_random_numbers_alone():
    """In a process of its own: what draws numbers as it loads does so once."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=300)  # our own script


def test_random_numbers_are_put_back_when_the_loss_raises():
    random.seed(3)
    before = random.getstate()

    def compute_loss():
        random.random()
        raise KeyError("no batch")

    with pytest.raises(KeyError):
        examine(nn.Linear(2, 1), compute_loss)
    assert random.getstate() == before
