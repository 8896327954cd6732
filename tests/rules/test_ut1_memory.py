"""UT107: an example that fires, a healthy one that doesn't, and when it is a warning."""

import numpy as np
import pytest
import torch
from torch import nn

from rules.networks import recurrent
from undertow.examination import examine
from undertow.record import Severity
from undertow.testing import check_rule

WIDTH, INPUTS = 8, 3

CASES = {
    "UT107": (lambda: recurrent(0.5), lambda: recurrent(1.0)),
}


class Fused(nn.Module):
    """torch's own recurrent module under a head on its last output, or on every one."""

    def __init__(self, kind, every=False, width=WIDTH):
        super().__init__()
        self.rnn = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](INPUTS, width, batch_first=True)
        self.head, self.every = nn.Linear(width, 1), every

    def forward(self, x):
        out = self.rnn(x)[0]
        return self.head(out).mean(1) if self.every else self.head(out[:, -1])


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def test_the_memory_horizon_is_that_of_the_recurrence():
    (finding,) = (f for f in examine(*recurrent(0.5)).findings if f.code == "UT107")
    assert finding.evidence["gain"] == pytest.approx(0.5, abs=0.02)
    assert finding.evidence["horizon"] == pytest.approx(np.log(10) / np.log(2), abs=0.2)


@pytest.mark.parametrize(("kind", "steps"), [("rnn", 60), ("lstm", 60), ("gru", 200), ("lstm", 300)])
@pytest.mark.parametrize("every", [False, True])
def test_a_loss_at_the_end_of_a_long_sequence_is_a_warning_and_told_once(kind, steps, every):
    torch.manual_seed(0)
    net, x = Fused(kind, every), torch.randn(8, steps, INPUTS)
    report = examine(net, lambda: net(x).square().mean(), torch.optim.Adam(net.parameters()))
    found = [finding for finding in report.findings if finding.code == "UT107"]
    assert [finding.severity for finding in found] == [Severity.NOTE if every else Severity.WARNING]
    assert found[0].evidence["steps"] == steps


@pytest.mark.parametrize(("kind", "steps", "told"), [("gru", 30, False), ("gru", 60, True), ("rnn", 30, True)])
def test_gates_are_given_more_time_than_a_plain_recurrence(kind, steps, told):
    torch.manual_seed(0)
    net, x = Fused(kind), torch.randn(32, steps, INPUTS)
    found = {each.code: each for each in examine(net, lambda: net(x).square().mean()).findings}["UT107"]
    assert found.evidence["horizon"] < steps / 5
    assert (found.severity is Severity.WARNING) is told


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_gate_that_stands_open_is_neither_saturated_nor_forgetful(kind):
    torch.manual_seed(0)
    net, x = Fused(kind), torch.randn(32, 60, INPUTS)
    with torch.no_grad():
        net.rnn.bias_ih_l0[WIDTH : 2 * WIDTH] = 6.0
    report = examine(net, lambda: net(x).square().mean(), torch.optim.Adam(net.parameters()))
    assert not {"UT107", "UT201"} & {finding.code for finding in report.findings}
    with torch.no_grad():
        net.rnn.bias_ih_l0[WIDTH : 2 * WIDTH] = -6.0
    report = examine(net, lambda: net(x).square().mean(), torch.optim.Adam(net.parameters()))
    assert {"UT107", "UT201"} <= {finding.code for finding in report.findings}


class Stepwise(nn.Module):
    """A cell gone through by hand, its state detached after some of the steps."""

    def __init__(self, detached, every=False):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head = nn.GRUCell(INPUTS, WIDTH), nn.Linear(WIDTH, 1)
        self.detached, self.every = detached, every

    def forward(self, x):
        state, out = x.new_zeros(len(x), WIDTH), []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            out.append(self.head(state))
            state = state.detach() if step in self.detached else state
        return torch.stack(out).mean(0) if self.every else self.head(state)


class Spiking(nn.Module):
    """A membrane that is reset by what it has fired, with a straight-through gradient in the place of a step's."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(INPUTS, WIDTH)

    def forward(self, x):
        membrane = fired = torch.zeros(len(x), WIDTH)
        for step in range(x.shape[1]):
            membrane = 0.8 * membrane + self.layer(x[:, step])
            soft = torch.sigmoid(membrane)
            spike = (membrane > 0).float() + soft - soft.detach()
            membrane, fired = membrane * (1 - spike.detach()), fired + spike
        return fired


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Stepwise(range(5)), 1),
        (lambda: Stepwise(range(5), every=True), 0),  # each step has a loss of its own
        (lambda: Stepwise([2]), 0),  # two parts of a long sequence
        (Spiking, 0),
    ],
)
def test_a_state_detached_at_every_step_is_told_where_the_loss_gets_to_the_last_one_alone(make, told):
    net, x = make(), torch.randn(8, 6, INPUTS)
    findings = examine(net, lambda: net(x).square().mean()).findings
    found = [each for each in findings if each.code == "UT107" and each.severity is Severity.WARNING]
    assert len(found) == told
    assert all(each.evidence["times"] == 5 and each.source.startswith(__file__) for each in found)


def test_a_gradient_that_grows_through_time_explodes_until_the_recurrence_is_orthogonal():
    torch.manual_seed(0)
    net, x = Fused("lstm", width=48), torch.randn(16, 20, INPUTS)

    def told():
        return [each for each in examine(net, lambda: net(x).square().mean()).findings if each.code == "UT102"]

    assert not told()
    for weight in net.rnn.parameters():
        nn.init.normal_(weight, std=2.0)
    (found,) = told()
    assert found.severity is Severity.WARNING
    assert found.evidence["total"] > 2.5
    exec(found.snippet, {"model": net, "nn": nn, "torch": torch})  # noqa: S102  # ours
    assert not told() or told()[0].evidence["total"] < found.evidence["total"] / 2
