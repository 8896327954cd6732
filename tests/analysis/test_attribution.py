"""The path and the split, on real graphs: what is said of a block must agree with Jacobians and add up."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sample_graphs import run_of
from undertow.analysis.attribution import CAUSES, attribute


def test_factors_multiply_to_the_gain(net):
    for gain in attribute(run_of(*net)):
        assert set(gain.factors) <= set(CAUSES)
        assert np.prod(list(gain.factors.values())) == pytest.approx(gain.gain, rel=1e-9)


def test_nothing_is_left_unattributed(net):
    for gain in attribute(run_of(*net)):
        assert gain.factors["unattributed"] == pytest.approx(1, rel=1e-6)


def test_shares_of_a_block_sum_to_one(net):
    for gain in attribute(run_of(*net)):
        assert sum(gain.shares.values()) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("activation", [torch.sigmoid, torch.tanh, torch.relu, nn.functional.gelu])
def test_gains_are_those_of_the_jacobians(activation):
    """A residual net, its Jacobians multiplied out by torch.func and not by a backward pass."""
    torch.manual_seed(3)
    layers = nn.ModuleList(nn.Linear(4, 4, dtype=torch.float64) for _ in range(4))
    head = nn.Linear(4, 1, dtype=torch.float64)
    x = torch.randn(4, dtype=torch.float64)

    def block(layer, h):
        return h + activation(layer(h))

    hidden = [layers[0](x)]
    for layer in layers[1:]:
        hidden.append(block(layer, hidden[-1]))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.head = layers, head

        def forward(self, x):
            h = layers[0](x[None])
            for layer in layers[1:]:
                h = block(layer, h)
            return head(h)

    delta = [head.weight[0].detach()]
    for layer, h in zip(reversed(layers[1:]), reversed(hidden[:-1]), strict=True):
        jacobian = torch.func.jacrev(lambda h, layer=layer: block(layer, h))(h).detach()
        delta.append(jacobian.T @ delta[-1])
    model = Net()
    run = run_of(model, lambda: model(x).sum())
    gains = [g for g in attribute(run) if run.sites[g.start].op == "add"]
    expected = [(b.norm() / a.norm()).item() for a, b in itertools.pairwise(delta)]
    assert [gain.gain for gain in gains] == pytest.approx(expected, rel=1e-12)
    for gain, layer, before in zip(gains, reversed(layers[1:]), delta, strict=False):
        h = hidden[list(layers).index(layer) - 1]
        branch = torch.func.jacrev(lambda h, layer=layer: activation(layer(h)))(h).detach().T @ before
        total = branch + before
        shares = sorted([(branch @ total / (total @ total)).item(), (before @ total / (total @ total)).item()])
        assert sorted(gain.shares.values()) == pytest.approx(shares, rel=1e-10)
