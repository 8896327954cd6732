"""Gains of blocks as theory has them: convolutions, residual blocks, dropout; and what it has none for."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from analysis.theory_check.chains import WIDTH, chain, initialised, theory_of
from undertow.analysis.theory_check import interpretation
from undertow.theory import residual


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": 1}, {"padding": 0}, {"padding": 2, "kernel_size": 5}, {"padding": 1, "groups": 4},
        {"padding": 1, "padding_mode": "circular"},
    ],
)  # fmt: skip
def test_convolutions_borders_included(settings):
    torch.manual_seed(0)
    kernel = settings.pop("kernel_size", 3)
    convolutions = [initialised(nn.Conv2d(32, 32, kernel, **settings), 1.4) for _ in range(3)]
    net = nn.Sequential(*[m for c in convolutions for m in (c, nn.ReLU())], nn.Flatten(), nn.LazyLinear(4))
    net(torch.randn(1, 32, 9, 9))
    found = theory_of(net, 32, 9, 9, rows=16)
    if settings.get("padding_mode"):
        assert "selection" in found.reasons or found.covered
        return
    assert len(found.covered) == 3
    assert found.deviating == ()
    for each in found.predictions:
        assert each.measured == pytest.approx(each.expected, abs=0.1)


class Block(nn.Module):
    def __init__(self, gain, out_gain, norm=None):
        super().__init__()
        self.first, self.second = (initialised(nn.Linear(WIDTH, WIDTH), g) for g in (gain, out_gain))
        self.norm = norm or nn.Identity()

    def forward(self, x):
        return x + self.second(torch.relu(self.first(self.norm(x))))


def test_residual_blocks_are_yang_and_schoenholz_s():
    torch.manual_seed(0)
    stem = initialised(nn.Linear(WIDTH, WIDTH), 1.0)
    net = nn.Sequential(stem, *(Block(2**0.5, 0.7) for _ in range(4)), nn.Linear(WIDTH, 4))
    found = theory_of(net)
    blocks = [each for each in found.predictions if each.residual]
    branch = residual.Branch("relu", 2.0, out_weight_var=0.49)
    expected = np.log10(1 + branch.gain(1.0)) / 2
    assert [each.expected for each in blocks] == pytest.approx([expected] * 4, abs=0.02)
    assert found.deviating == ()


def test_pre_norm_blocks_are_covered_and_what_stands_after_them_is_not():
    torch.manual_seed(0)
    blocks = [Block(2**0.5, 1.0, nn.LayerNorm(WIDTH)) for _ in range(3)]
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), *blocks, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4))
    found = theory_of(net)
    assert [each.reason for each in found.predictions] == ["normalisation", "", "", ""]
    assert all(each.residual for each in found.covered)
    assert found.deviating == ()


def test_a_branch_of_zeros_changes_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), Block(1.0, 0.0), nn.Linear(WIDTH, 4))
    nn.init.zeros_(net[1].second.bias)
    found = theory_of(net).predictions[-1]
    assert (found.measured, found.expected, found.deviates) == (pytest.approx(0, abs=1e-6), 0.0, False)


def test_dropout_is_taken_as_it_is():
    torch.manual_seed(0)
    net = nn.Sequential(
        *[m for _ in range(4) for m in (initialised(nn.Linear(256, 256), 1.2), nn.Tanh(), nn.Dropout(0.3))],
        nn.Linear(256, 4),
    )
    found = theory_of(net, 256)
    assert len(found.covered) == 4
    assert found.deviating == ()


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.mixed = nn.Linear(8, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.mixed(x, x, x, need_weights=False)[0])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.layer(torch.tanh(self.layer(x)))))


def frozen():
    net = chain(nn.Tanh, 3, 1.0)
    net[2].requires_grad_(False)
    return net


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)), (8,), "normalisation"),
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 2)), (8,), "normalisation"),
        (Attending, (5, 8), "attention"),
        (Tied, (8,), "weights that are used more than once"),
        (frozen, (WIDTH,), "frozen weights"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 2)), (3, 8, 8),
         "pooling"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2)), (3, 8, 8),
         "transposed convolutions"),
        (lambda: nn.Sequential(nn.Linear(8, 8), nn.GLU(), nn.Linear(4, 2)), (8,), "glu"),
    ],
)  # fmt: skip
def test_where_theory_has_nothing_to_say_it_says_so(model, shape, reason):
    torch.manual_seed(0)
    found = theory_of(model(), *shape)
    assert reason in found.reasons
    assert not any(each.deviates for each in found.predictions if not each.covered)
    assert all(math.isnan(each.expected) for each in found.predictions if not each.covered)
    assert reason in interpretation.summary(found)
