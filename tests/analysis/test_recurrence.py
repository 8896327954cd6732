"""A recurrence's gain per step, held against an explicit product of Jacobians through time."""

import numpy as np
import pytest
import torch
from torch import nn

from undertow.analysis.recurrence import Passage, find_loops
from undertow.examination import examine

WIDTH, INPUTS = 8, 3
CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


class Fused(nn.Module):
    """torch's own recurrent module under a head on its last output, or on every one."""

    def __init__(self, kind, every=False, **options):
        super().__init__()
        self.rnn = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](INPUTS, WIDTH, batch_first=True, **options)
        self.head, self.every = nn.Linear(WIDTH * (1 + self.rnn.bidirectional), 1), every

    def forward(self, x):
        out = self.rnn(x)[0]
        return self.head(out).mean(1) if self.every else self.head(out[:, -1])


class Stepped(nn.Module):
    """The same by cells, step by step."""

    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = CELLS[kind](INPUTS, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class ByHand(nn.Module):
    """An LSTM written out, a linear layer a gate."""

    def __init__(self):
        super().__init__()
        self.gates = nn.ModuleDict({name: nn.Linear(INPUTS + WIDTH, WIDTH) for name in ("f", "i", "o", "g")})
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x):
        h = c = torch.zeros(len(x), WIDTH, dtype=x.dtype)
        for step in x.unbind(1):
            z = {name: gate(torch.cat([step, h], 1)) for name, gate in self.gates.items()}
            c = torch.sigmoid(z["f"]) * c + torch.sigmoid(z["i"]) * torch.tanh(z["g"])
            h = torch.sigmoid(z["o"]) * torch.tanh(c)
        return self.head(h)


def passages(net, steps, seed=0):
    torch.manual_seed(seed)
    net, x = net.double(), torch.randn(6, steps, INPUTS, dtype=torch.float64)
    report = examine(net, lambda: net(x).square().mean())
    return [Passage(loop, report.run, -1) for loop in find_loops(report.run, 8)], x


def jacobian_gains(kind, weights, x, head):
    """Norms of J_t^T ... J_T^T g for the state (h, and c) of every step, by explicit Jacobians; their ratios."""
    cell = CELLS[kind](INPUTS, WIDTH).double()
    cell.load_state_dict(weights)

    def step(state, at):
        parts = state.chunk(2) if kind == "lstm" else (state,)
        hidden = tuple(part[None] for part in parts)
        new = cell(at[None], hidden if kind == "lstm" else hidden[0])
        return torch.cat([part[0] for part in new]) if kind == "lstm" else new[0]

    per_step = torch.zeros(x.shape[1], dtype=torch.float64)
    scale = 2 / len(x)
    for example in x:
        states = [torch.zeros(WIDTH * (2 if kind == "lstm" else 1), dtype=torch.float64)]
        for at in example:
            states.append(step(states[-1], at).detach())
        g = torch.zeros_like(states[-1])
        g[:WIDTH] = scale * head(states[-1][:WIDTH]).detach() * head.weight[0].detach()
        for t in range(x.shape[1] - 1, -1, -1):
            jacobian = torch.autograd.functional.jacobian(lambda state, at=example[t]: step(state, at), states[t])
            g = jacobian.T @ g
            per_step[t] += g.square().sum()
    norms = per_step.sqrt().numpy()[::-1]  # the last step first
    return norms[1:] / norms[:-1]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("bias", [None, 1.0, 5.0])
@pytest.mark.parametrize("steps", [9, 25])
def test_the_gain_of_every_step_is_that_of_the_jacobians(kind, bias, steps):
    torch.manual_seed(1)
    net = Fused(kind)
    if bias is not None and kind != "rnn":
        with torch.no_grad():
            net.rnn.bias_ih_l0[WIDTH : 2 * WIDTH] = bias
    (passage,), x = passages(net, steps)
    weights = {name.removesuffix("_l0"): value for name, value in net.rnn.state_dict().items()}
    expected = jacobian_gains(kind, weights, x, net.head)
    assert passage.loop.steps == steps
    first = 1 if kind == "lstm" else 0  # its cell gets gradient around the loop in the last step
    assert passage.gains == pytest.approx(expected[first:-1], rel=1e-6)
    assert passage.gain > 1 or passage.horizon == pytest.approx(np.log(10) / -np.log(passage.gain))


@pytest.mark.parametrize("kind", CELLS)
def test_what_a_loss_at_every_step_adds_is_not_the_recurrences(kind):
    """With it, norms stay where they are from step to step; a fresh gradient, not yet turned, loses a little more."""
    torch.manual_seed(1)
    net = Fused(kind)
    (last,), _ = passages(net, 25)
    net.every = True
    (every,), _ = passages(net, 25)
    assert 0.5 * last.gain < every.gain < 1.1 * last.gain
    assert last.fed_at_end_only
    assert not every.fed_at_end_only


@pytest.mark.parametrize(
    "net",
    [
        Fused("lstm", num_layers=2),
        Fused("gru", bidirectional=True),
        Stepped("rnn"),
        Stepped("lstm"),
        Stepped("gru"),
        ByHand(),
    ],
)
def test_steps_are_counted_once_however_the_recurrence_is_written(net):
    found, _ = passages(net, 12)
    assert {passage.loop.steps for passage in found} == {12}
    assert len({passage.loop.weights for passage in found}) == len(found)


def test_an_lstm_by_hand_is_one_loop():
    found, _ = passages(ByHand(), 12)
    assert [passage.loop.module for passage in found] == ["gates"]


@pytest.mark.parametrize("kind", CELLS)
def test_underflow_leaves_the_gain_as_it_is(kind):
    torch.manual_seed(1)
    net, short, long = Fused(kind), torch.randn(6, 60, INPUTS), torch.randn(6, 400, INPUTS)
    gains = []
    for x in (short, long):
        run = examine(net, lambda x=x: net(x).square().mean()).run
        gains.append(Passage(find_loops(run, 8)[0], run, -1).gain)
    assert gains[0] < 0.8  # 400 steps of it are under float32's smallest number
    assert gains[1] == pytest.approx(gains[0], rel=0.1)
