import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import undertow

HOSTILE = "<script>document['title']='broken'</script>*x* $y$ [a](#b) `c`"


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.second(functional.gelu(self.first(self.norm(x))))


def sigmoid(depth=8, width=20):
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.Sigmoid())])
    x = torch.randn(50, width)
    return net, lambda: net(x).square().mean()


def residual(depth=4, width=16):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, width), *(Block(width) for _ in range(depth)), nn.Linear(width, 2))
    x = torch.randn(30, 5)
    return net, lambda: net(x).square().mean()


def hostile():
    inner, _ = sigmoid()
    net, x = nn.Module(), torch.randn(50, 20)
    net.add_module(HOSTILE, inner)
    return net, lambda: inner(x).square().mean()


def thousand():
    torch.manual_seed(0)
    net = nn.Sequential(*[layer for _ in range(500) for layer in (nn.Linear(8, 8), nn.Tanh())])
    x = torch.randn(8, 8)
    return net, lambda: net(x).square().mean()


@pytest.fixture(scope="session")
def vanishing():
    return undertow.examine(*sigmoid())


@pytest.fixture(scope="session")
def healthy():
    return undertow.examine(*residual())


@pytest.fixture(scope="session")
def hostile_report():
    return undertow.examine(*hostile())


@pytest.fixture(scope="session")
def thousand_report():
    return undertow.examine(*thousand())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to work in, and a function that writes a file there."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(content))
        return path

    return write
