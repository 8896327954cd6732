"""Facts that an examination notes beside its tape: they survive a file, and noting them leaves no trace."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules import (
    test_ut1_cut,
    test_ut5_broadcast,
    test_ut5_examples,
    test_ut5_loss,
    test_ut5_terms,
    test_ut7_targets,
)
from rules.fitting import adam
from undertow import examine
from undertow.examination import Report

MODULES = (test_ut1_cut, test_ut5_broadcast, test_ut5_examples, test_ut5_loss, test_ut5_terms, test_ut7_targets)
SOME = [build for module in MODULES for _, build in module.EXAMPLES.all(0)[::6]]

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")


@pytest.mark.parametrize("build", SOME)
def test_a_report_with_facts_is_read_back_as_it_was(build, tmp_path):
    report = examine(*build())
    json.dumps(report.run.header, allow_nan=False)
    assert Report.read(report.save(tmp_path / "report.json")) == report


class Everything(nn.Module):
    """Batch norm, dropout, a recurrent and a stray layer, for a loss of two terms: what calls for a closer look."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.3))
        self.norm, self.rnn, self.head = nn.BatchNorm1d(6), nn.LSTM(6, 8), nn.Linear(8, 4)
        self.stray = [nn.Linear(4, 4)]

    def forward(self, x):
        x = self.norm(self.first(x).transpose(1, 2)).transpose(1, 2)
        return self.stray[0](self.head(self.rnn(x)[0].mean(1)))


def state(model):
    tensors = [*model.parameters(), *model.buffers(), *model.stray[0].parameters()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), m.training) for m in model.modules()]
    return [t.clone() for t in tensors], [t.grad for t in tensors], hooks, torch.get_rng_state()


def test_a_closer_look_leaves_no_trace():
    model, x, y = Everything(), torch.randn(12, 5, 6), torch.randint(0, 4, (12,))

    def loss():
        out = model(x)
        return functional.cross_entropy(out, y) + 0.1 * out.square().mean()

    before = state(model)
    report = examine(model, loss, adam(model))
    after = state(model)
    assert {"UT502", "UT506"} <= {found.code for found in report.findings}
    assert len(report.run.header["terms"]) == 2
    assert all(map(torch.equal, before[0], after[0]))
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])


def test_where_nothing_is_suspected_the_loss_is_computed_once():
    torch.manual_seed(0)
    model, calls = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4)), []
    x, y = torch.randn(12, 6), torch.randint(0, 4, (12,))

    def loss():
        calls.append(1)
        return functional.cross_entropy(model(x), y)

    examine(model, loss)
    assert len(calls) == 1


def test_lines_of_source_are_the_users():
    report = examine(*test_ut5_broadcast.squared_by_hand())
    sources = [*(site.source for site in report.run.sites), report.run.header["pairs"][0]["source"]]
    assert all(not source or "undertow/tape" not in source for source in sources)
    assert "test_ut5_broadcast.py" in sources[-1]
