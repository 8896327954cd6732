"""Trainings as people report them: the cause comes first, and of the mended ones nothing is said."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.reported import REPORTED
from undertow import examine, explain, open_run, watch
from undertow.record import Severity

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size", "ignore:None of the inputs have requires_grad")


def faults(make, broken):
    torch.manual_seed(0)
    model, loss, optimizer = make(broken)
    return [each for each in examine(model, lambda: loss(0), optimizer).findings if each.severity is not Severity.NOTE]


@pytest.mark.parametrize("name", REPORTED)
def test_the_cause_comes_first(name):
    code, make = REPORTED[name]
    found = faults(make, broken=True)
    assert found
    assert found[0].code == code
    assert found[0].advice


@pytest.mark.parametrize("name", REPORTED)
def test_nothing_is_said_of_the_mended_one(name):
    assert [each.message for each in faults(REPORTED[name][1], broken=False)] == []


class Pooled(nn.Module):
    """A block of MetaFormer's: what pooling over a map of one pixel leaves of x - x is nothing."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 16, 4, 4), nn.GroupNorm(1, 16), nn.Linear(16, 4)

    def forward(self, x):
        h = self.stem(x)
        y = self.norm(h)
        h = h + functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False) - y
        return self.head(h.flatten(1))


def test_a_branch_whose_norm_alone_cancels_is_a_note():
    torch.manual_seed(0)
    net, x, y = Pooled(), torch.randn(16, 3, 4, 4), torch.randint(0, 4, (16,))
    found = examine(net, lambda: functional.cross_entropy(net(x), y), torch.optim.Adam(net.parameters())).findings
    assert [(each.code, each.severity) for each in found if each.code == "UT109"] == [("UT109", Severity.NOTE)]


def watched(folder, net, loss, optimizer, steps=40):
    with watch(net, optimizer, folder / "run.undertow", every=5) as watcher:
        for step in range(steps):
            optimizer.zero_grad()
            value = loss(step)
            value.backward()
            watcher.log(loss=value)
            optimizer.step()
    return {each.code: each for each in explain(open_run(watcher.path)).findings}


class Tiny(nn.Module):
    """Embeddings that start near 0 in front of a normalisation, and a mask token that nothing uses."""

    def __init__(self):
        super().__init__()
        self.mask_token, self.table, self.norm = nn.Parameter(torch.zeros(32)), nn.Embedding(16, 32), nn.LayerNorm(32)
        self.body = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))
        nn.init.uniform_(self.table.weight, -1e-4, 1e-4)

    def forward(self, words):
        return self.body(self.norm(self.table(words)))


def test_embeddings_that_grow_in_front_of_a_norm_are_no_collapse_and_a_mask_token_no_fault(tmp_path):
    torch.manual_seed(0)
    net, words = Tiny(), torch.randint(0, 16, (64,))
    slowly = torch.optim.Adam([
        {"params": net.table.parameters(), "lr": 3e-2}, {"params": [*net.body.parameters(), *net.norm.parameters()]},
        {"params": [net.mask_token]},
    ], lr=1e-4)  # fmt: skip
    found = watched(tmp_path, net, lambda _: functional.cross_entropy(net(words), words), slowly)
    assert found["UT501"].severity is Severity.NOTE
    assert not [each for each in found.values() if each.severity is not Severity.NOTE]


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_inputs_are_examined_and_watched(tmp_path, layout):
    torch.manual_seed(0)
    net, x, y = LowRank(20, 4), (torch.rand(50, 20) < 0.2).float().to_sparse(layout=layout), torch.randint(0, 4, (50,))
    optimizer = torch.optim.Adam(net.parameters())
    assert examine(net, lambda: functional.cross_entropy(net(x), y), optimizer).run.sites
    watched(tmp_path, net, lambda _: functional.cross_entropy(net(x), y), optimizer, steps=10)
    assert len(open_run(tmp_path / "run.undertow"))
    assert not [event for event in open_run(tmp_path / "run.undertow").events if event.kind == "trouble"]


class LowRank(nn.Module):
    """Two products, as in a graph convolution of sparse features."""

    def __init__(self, size_in, size_out):
        super().__init__()
        self.a, self.b = nn.Parameter(0.3 * torch.randn(size_in, 8)), nn.Parameter(0.3 * torch.randn(8, size_out))

    def forward(self, x):
        return torch.relu(torch.mm(x, self.a)) @ self.b
