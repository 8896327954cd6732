"""What weights do to a gradient is known for any number of rows, whatever cancels; a wrong product shows."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine
from undertow.tape import Tape


def alike(rows, dtype):
    """Mean pooling: every row gets the same gradient."""
    net, x = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.Linear(8, 4)), torch.rand(rows, 8)
    return net.to(dtype), lambda: net(x.to(dtype)).mean(0).square().sum()


def opposed(rows, dtype):
    """BatchNorm: the rows' gradients add up to zero."""
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    x, y = torch.rand(rows, 8), torch.randint(0, 4, (rows,))
    return net.to(dtype), lambda: functional.cross_entropy(net(x.to(dtype)).float(), y)


def convolved(rows, dtype):
    layers = [nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3)]
    net, x = nn.Sequential(*layers), torch.rand(rows, 2, 8, 8)
    net(x)
    return net.to(dtype), lambda: net(x.to(dtype)).float().mean(0).square().sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("rows", [2, 3, 4, 5, 6, 7, 12, 13, 24, 48, 100])
@pytest.mark.parametrize("kind", [alike, opposed, convolved])
def test_nothing_is_left_unattributed(kind, rows, dtype):
    torch.manual_seed(rows)
    for gain in examine(*kind(rows, dtype)).gains:
        assert gain.factors["unattributed"] == pytest.approx(1, rel=0.02 if dtype is torch.bfloat16 else 1e-3)
        assert gain.factors.get("weights", 1.0) > 0


@pytest.mark.parametrize("rows", [2, 3, 6, 12, 64])
def test_one_row_alone_is_projected_rightly(rows):
    """All gradient in one row, whatever coefficient that row got."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), torch.randn(rows, 4)
    for row in range(rows):
        gains = examine(net, lambda row=row: net(x)[row].square().sum()).gains
        assert [gain.factors["unattributed"] for gain in gains] == pytest.approx([1.0] * len(gains), rel=1e-4)


@pytest.mark.parametrize("rows", [2, 3, 6, 12, 32])
def test_a_wrong_product_shows(rows):
    """Passed on is three times what W^T g is."""
    torch.manual_seed(0)
    first, second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
    x = torch.randn(rows, 6)
    net = nn.ModuleList([first, second])
    with Tape(net) as tape:
        loss = second(first(x)).square().sum()
        tape.attach(loss)
        # Autograd multiplies with the saved tensor, the tape with the parameter.
        second.weight.data = second.weight.data / 3
        loss.backward()
    site = next(site.index for site in tape.sites if site.module == "1")
    received = tape.columns().by_site
    weights = received["weight_norm"][site] / np.sqrt(6) * received["alignment_w"][site]
    assert received["grad_input"][site] / received["grad_output"][site] == pytest.approx(3 * weights, rel=1e-3)


class Residual(nn.Module):
    """``addmm`` that adds a residual on, with settings of its own."""

    def __init__(self, beta, alpha, transposed):
        super().__init__()
        self.first, self.weight, self.head = nn.Linear(8, 8), nn.Parameter(torch.randn(8, 8)), nn.Linear(8, 3)
        self.beta, self.alpha, self.transposed = beta, alpha, transposed

    def forward(self, x):
        h = torch.tanh(self.first(x))
        w = self.weight.t() if self.transposed else self.weight
        return self.head(torch.addmm(h, h, w, beta=self.beta, alpha=self.alpha))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("beta", "alpha"), [(1, 1), (0.3, 1), (1, 0.5), (0.01, 2), (1, -0.1)])
def test_a_product_added_to_a_residual_is_a_layer_and_its_settings_count(beta, alpha, transposed):
    torch.manual_seed(0)
    net, x = Residual(beta, alpha, transposed).double(), torch.randn(9, 8, dtype=torch.float64)
    report = examine(net, lambda: net(x).square().mean())
    layer = next(site for site in report.run.sites if "weight" in site.parameters)
    assert layer.role == "weight"
    reading = report.run.reading(layer.index)
    assert reading.weight_norm == pytest.approx(abs(alpha) * net.weight.norm().item())
    g = _gradient_of_sum(net, x)
    w = net.weight.t() if transposed else net.weight
    through = (alpha * g @ w.t()).norm() / g.norm()
    assert reading.weight_norm / np.sqrt(8) * reading.alignment_w == pytest.approx(through.item())
    for gain in report.gains:
        assert gain.factors["unattributed"] == pytest.approx(1)
        assert np.prod(list(gain.factors.values())) == pytest.approx(gain.gain)


def _gradient_of_sum(net, x):
    h = torch.tanh(net.first(x))
    total = torch.addmm(h, h, net.weight.t() if net.transposed else net.weight, beta=net.beta, alpha=net.alpha)
    (g,) = torch.autograd.grad(net.head(total).square().mean(), total)
    return g
