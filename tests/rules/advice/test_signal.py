"""Advice on scales: what is drawn anew, exchanged or calmed, under the names that a user would write."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.advising import found_in, run, shrunk, still
from rules.fitting import mlp
from rules.networks import chain
from undertow.examination import examine


def test_inputs_that_saturate_the_first_layer_are_standardised():
    model, x, y = chain(nn.Tanh, 3), 100 * torch.randn(64, 32), torch.randint(0, 4, (64,))
    found = found_in("UT201", model, lambda: functional.cross_entropy(model(x), y), None)
    left = run(found, inputs=x)["inputs"]
    assert not still("UT201", model, lambda: functional.cross_entropy(model(left), y))


def test_weights_that_saturate_are_started_smaller():
    model = chain(nn.Tanh, 3, gain=20.0)
    x, y = torch.randn(64, 32), torch.randint(0, 4, (64,))
    found = found_in("UT201", model, lambda: functional.cross_entropy(model(x), y), None)
    run(found, model=model)
    assert not still("UT201", model, lambda: functional.cross_entropy(model(x), y))


def test_branches_that_add_up_are_calmed_and_their_weights_not_drawn_larger():
    class Sums(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32)) for _ in range(24)
            )
            self.head = nn.Linear(32, 4)
            for block in self.blocks:
                nn.init.kaiming_normal_(block[0].weight)
                nn.init.kaiming_normal_(block[2].weight)

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    model, x = Sums(), torch.randn(64, 32)
    found = found_in("UT102", model, lambda: model(x).square().mean(), None)
    assert "model.blocks[23][2]" in found.snippet
    run(found, model=model)
    assert not still("UT102", model, lambda: model(x).square().mean())


@pytest.mark.parametrize("depth", [(12, nn.Sigmoid), (12, nn.Tanh), (12, nn.ReLU), (12, nn.GELU), (8, nn.Hardsigmoid)])
def test_nobody_is_told_to_use_what_is_there(depth):
    """Small weights in deep networks of every kind: the cure is the weights' start, or another activation."""
    layers, activation = depth
    model = chain(activation, layers, gain=0.4)
    x, y = torch.randn(64, 32), torch.randint(0, 4, (64,))
    found = found_in("UT101", model, lambda: functional.cross_entropy(model(x), y), None)
    assert f"nn.{activation.__name__}()" not in found.snippet
    assert f"Put {activation.__name__}" not in found.advice
    run(found, model=model)
    after = found_in("UT101", model, lambda: functional.cross_entropy(model(x), y), None)
    assert shrunk("UT101", found, after)


class Functional(nn.Module):
    """A deep network whose activation is a call, not a module."""

    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(8))
        self.activation = activation

    def forward(self, x):
        for layer in self.layers:
            x = self.activation(x=layer(x))
        return x


def test_a_call_in_forward_is_exchanged_there():
    model, x = Functional(lambda x: torch.sigmoid(x)), torch.randn(64, 32)
    found = found_in("UT101", model, lambda: model(x).square().mean(), None)
    assert "in forward (test_signal.py" in found.snippet
    mended = Functional(lambda x: run(found, model=model, x=x)["x"])
    assert shrunk("UT101", found, found_in("UT101", mended, lambda: mended(x).square().mean(), None))


def test_weights_that_are_no_layers_are_drawn_as_parameters():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.ParameterList(nn.Parameter(0.05 * torch.randn(32, 32)) for _ in range(12))
            self.out = nn.Parameter(torch.randn(32, 4) / 6)

        def forward(self, x):
            for weight in self.steps:
                x = torch.tanh(x @ weight)
            return x @ self.out

    torch.manual_seed(0)
    model, x = Bare(), torch.randn(64, 32)
    found = found_in("UT101", model, lambda: model(x).square().mean(), None)
    assert "matrix product with steps" in found.message
    run(found, model=model)
    assert not still("UT101", model, lambda: model(x).square().mean())


def test_layers_are_named_as_a_user_would_write_them():
    torch.manual_seed(0)
    net = nn.ModuleDict({"stem": nn.Linear(6, 8), "blocks": nn.ModuleList([mlp(8, 8), mlp(8, 8)]), "head": mlp(8, 4)})
    nn.init.constant_(net["blocks"][1][0].weight, 0.5)
    x = torch.randn(12, 6)

    def compute_loss():
        return net["head"](net["blocks"][1](net["blocks"][0](net["stem"](x)))).square().mean()

    found = found_in("UT302", net, compute_loss, None)
    assert "model.blocks[1][0].weight" in found.snippet
    run(found, model=net)
    assert found_in("UT302", net, compute_loss, None) is None


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.ReLU, nn.Tanh])
def test_findings_of_one_start_advise_the_same(activation):
    """One says that weights start too small; another must not say that they are in order."""
    torch.manual_seed(0)
    net = nn.Sequential(*(layer for _ in range(16) for layer in (nn.Linear(24, 24), activation())), nn.Linear(24, 3))
    x, y = torch.randn(32, 24), torch.randint(3, (32,))
    told = {each.code: each.advice for each in examine(net, lambda: functional.cross_entropy(net(x), y)).findings}
    first = {advice.partition(" for n inputs")[0] for code, advice in told.items() if code in ("UT101", "UT301")}
    assert "UT301" in told
    assert len(first) == 1
