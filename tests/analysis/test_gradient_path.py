"""The gradient's path through real graphs, from the loss to the front."""

import numpy as np
import pytest
import torch
from torch import nn

from sample_graphs import run_of
from undertow.analysis.attribution import attribute
from undertow.analysis.gradient_path import find_gradient_path, theil_sen, weight_depth
from undertow.record import Role


def test_every_path_to_the_front_crosses_the_gradient_path(net):
    """Brute force: without a Site of the gradient path the front cannot be reached; without any other it can."""
    run = run_of(*net)
    gradient_path = find_gradient_path(run)
    for left_out in range(1, gradient_path.front):
        reached = {0}
        for edge, carried in zip(run.edges, run.edge_column("contribution"), strict=True):  # givers before receivers
            if edge.source in reached and edge.target != left_out and carried > 0:
                reached.add(edge.target)
        assert (gradient_path.front in reached) == (left_out not in gradient_path.sites)


def test_the_front_is_the_deepest(net):
    run = run_of(*net)
    gradient_path = find_gradient_path(run)
    path = gradient_path.deepest_path(0, gradient_path.front)
    passed = [run.edges[path[0]].source, *(run.edges[edge].target for edge in path)]
    assert sum(run.sites[site].role is Role.WEIGHT for site in passed) == weight_depth(run).max()


def test_a_chain_is_its_own_gradient_path(nets):
    run = run_of(*nets("sigmoid chain"))
    assert find_gradient_path(run).sites == tuple(range(len(run.sites)))


def test_the_gradient_path_of_an_rnn_goes_back_through_time(nets):
    run = run_of(*nets("rnn"), unroll=True)
    steps = [i for i in find_gradient_path(run).sites if run.sites[i].op == "addmm" and run.sites[i].module == "rnn"]
    assert len(steps) == 5
    assert find_gradient_path(run_of(*nets("rnn"))) is not None


def test_a_branch_beside_the_gradient_path_is_no_loss():
    """Zero weights at the end of every residual branch: what a healthy GPT starts with."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8)) for _ in range(6)]
    stem = nn.Linear(5, 8)
    for block in blocks:
        nn.init.zeros_(block[2].weight)
    model = nn.ModuleList([stem, *blocks])

    def loss():
        h = stem(torch.ones(3, 5))
        for block in blocks:
            h = h + block(h)
        return h.square().sum()

    gradient_path = find_gradient_path(run_of(model, loss))
    assert gradient_path.decay().total == pytest.approx(0, abs=1e-6)
    starved = gradient_path.starvation(gradient_path.deepest_path(0, gradient_path.front))
    assert starved.gone is not None  # nothing at all gets through


def test_the_slope_is_deaf_to_single_jumps():
    rng = np.random.default_rng(0)
    y = -0.5 * np.arange(30) + 0.01 * rng.standard_normal(30)
    y[rng.choice(30, 8, replace=False)] += 50
    assert theil_sen(np.arange(30), y) == pytest.approx(-0.5, abs=0.02)


def test_no_weights_no_gradient_path():
    x = torch.ones(3, requires_grad=True)
    run = run_of(nn.ReLU(), lambda: x.relu().sum())
    assert find_gradient_path(run) is None
    assert attribute(run) == ()
