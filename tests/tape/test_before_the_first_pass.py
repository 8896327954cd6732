"""What an examination refuses, and what it doesn't touch, before anything is computed."""

import random
import subprocess
import sys

import pytest
import torch
from torch import nn

from undertow.examination import examine
from undertow.watching import watch


@pytest.mark.parametrize(
    ("lazy", "shape", "kind"),
    [
        (lambda: nn.LazyLinear(8), (16, 5), "LazyLinear"),
        (lambda: nn.LazyConv2d(8, 3), (4, 3, 8, 8), "LazyConv2d"),
        (lambda: nn.LazyBatchNorm1d(), (16, 5), "LazyBatchNorm1d"),
    ],
)
def test_lazy_modules_are_refused_until_they_were_called(lazy, shape, kind):
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Identity(), lazy(), nn.Flatten(), nn.LazyLinear(2)), torch.randn(*shape)
    with pytest.raises(ValueError, match=rf"lazy modules .*1 \({kind}\).*Call the model on one batch"):
        examine(net, lambda: net(x).square().mean())
    assert kind in str(net)  # it is as lazy as it was
    net(x)
    assert examine(net, lambda: net(x).square().mean()).run.sites


def test_watch_refuses_them_too(tmp_path):
    net = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(2))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"0 \(LazyLinear\), 1 \(LazyLinear\)"):
        watch(net, optimizer, path=tmp_path / "lazy.undertow")
    assert not list(tmp_path.iterdir())


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
