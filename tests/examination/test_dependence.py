"""Parameters without gradient: what the loss's value says of them, and where their way is cut."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow.examination import examine
from undertow.examination.dependence import DependenceFinder


class Side(nn.Module):
    """A network with a branch whose output ``join`` brings to the loss, or not."""

    def __init__(self, join):
        super().__init__()
        self.body, self.branch, self.head, self.join = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2), join

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return self.head(self.join(self, h))


def under_no_grad(net, h):
    with torch.no_grad():
        side = net.branch(h)
    return h * side


def through_indices(net, h):
    chosen = net.branch(h).argmax(-1)
    return h + h[chosen]


def through_a_mask(net, h):
    return torch.where(net.branch(h) > 0, h, -h)


def in_place(net, h):
    room = torch.zeros_like(h)
    room[:, :2] = net.branch(h).detach()[:, :2]
    return h + room


def through_numpy(net, h):
    return h + torch.from_numpy(net.branch(h).detach().numpy())


CUT = {
    "detach": lambda net, h: h + net.branch(h).detach(),
    "data": lambda net, h: h + net.branch(h).data,
    "no_grad": under_no_grad,
    "argmax": through_indices,
    "gt": through_a_mask,
    "in place": in_place,
    "numpy": through_numpy,
    "an integer": lambda net, h: h + net.branch(h).long(),
}


def dropped(net, h):
    net.branch(h).relu()
    return h


def logged(net, h):
    with torch.no_grad():
        net.seen = net.branch(h).square().mean()
    return h


UNUSED = {"dropped": dropped, "logged": logged}


def header(join, dtype=torch.float32):
    torch.manual_seed(0)
    net, x, y = Side(join).to(dtype), torch.randn(6, 4, dtype=dtype), torch.randint(0, 2, (6,))
    return examine(net, lambda: functional.cross_entropy(net(x), y)).run.header


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CUT)
def test_used_and_cut_off(name, dtype):
    found = header(CUT[name], dtype)
    assert found["unreached"] == ["branch.weight", "branch.bias"] == list(found["cut off"])
    assert found["unused"] == found["read out"] == []


@pytest.mark.parametrize("name", ["detach", "argmax", "gt", "no_grad"])
def test_the_operation_that_cuts_is_named(name):
    assert {cut["op"] for cut in header(CUT[name])["cut off"].values()} == {name}


def test_its_line_is_the_users():
    source = header(CUT["argmax"])["cut off"]["branch.weight"]["source"]
    file, _, line = source.rpartition(":")
    assert file == __file__
    assert "argmax" in Path(file).read_text().splitlines()[int(line) - 1]


@pytest.mark.parametrize("name", UNUSED)
def test_not_used_at_all(name):
    found = header(UNUSED[name])
    assert found["unused"] == ["branch.weight", "branch.bias"]
    assert found["cut off"] == {}


def test_numbers_that_leave_torch_are_told_apart():
    found = header(lambda net, h: h * net.branch(h).mean().item())
    assert found["read out"] == ["branch.weight", "branch.bias"]


def test_nothing_is_traced_where_all_is_reached():
    assert "unused" not in header(lambda net, h: net.branch(h))


def test_memory_that_is_used_again_forgets():
    net = nn.Linear(64, 64)
    with DependenceFinder(net, dict(net.named_parameters())) as finder:
        for _ in range(20):
            net(torch.ones(1, 64))  # freed at once: the next tensor may lie where it lay
        other = torch.ones(1, 64) * 2
    assert finder.used(other) == set()


def test_a_slope_depends_on_weights_and_not_on_biases():
    """A gradient penalty, through a normalisation whose backward pass is handed its bias."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 1)), torch.randn(6, 4)

    def penalty():
        z = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net(z).sum(), z, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    found = examine(net, penalty).run.header
    assert found["unused"] == ["2.bias", "3.bias"]


def test_random_numbers_and_buffers_are_as_they_were():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)), torch.randn(6, 4)
    net.pooler = nn.Linear(4, 4)
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in net.state_dict().items()}
    calls = []

    def compute_loss():
        calls.append(net.pooler(x).sum())
        return net[3](net[2](net[1](net[0](x)))).square().mean()

    examine(net, compute_loss, repeats=2)
    assert len(calls) == 3
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
