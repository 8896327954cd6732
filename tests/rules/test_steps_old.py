"""Every rule: an example that fires, and a healthy one that looks like it and doesn't."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from undertow import rules
from undertow.examination import examine
from undertow.record import Edge, Role, Run, Severity, Site
from undertow.rules.registry import SECTIONS


def chain(activation, depth, width=32, gain=1.0, seed=0, norm=None):
    """depth layers with n Var W = gain^2, and a head."""
    torch.manual_seed(seed)
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, std=gain * width**-0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, *([norm(width)] if norm else []), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def loss_of(model, rows=64, width=32, scale=1.0):
    generator = torch.Generator().manual_seed(5)
    x = scale * torch.randn(rows, width, generator=generator)
    y = torch.randint(0, 4, (rows,), generator=generator)
    return lambda: functional.cross_entropy(model(x), y)


def simple(model, **options):
    return model, loss_of(model, **options), None


def vanishing():
    return simple(chain(nn.Sigmoid, 6))


def he_relu():
    return simple(chain(nn.ReLU, 20, width=64, gain=2**0.5), width=64)


def twice_he():
    return simple(chain(nn.ReLU, 20, width=64, gain=8**0.5), width=64)


def batch_normed():
    return simple(chain(nn.ReLU, 12, norm=nn.BatchNorm1d, gain=2**0.5))


def log_of_zero():
    model = chain(nn.Tanh, 3)
    x = torch.randn(8, 32)
    return model, lambda: (model(x) * 0).log().sum(), None


def log_of_a_half():
    model = chain(nn.Tanh, 3)
    x = torch.randn(8, 32)
    return model, lambda: (model(x).square() + 0.5).log().sum(), None


def minus_infinity_mask():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    x = torch.randn(4, 6, 16)
    return model, lambda: model(x, src_mask=mask, is_causal=True).square().mean(), None


class Around(nn.Module):
    """A deep branch and a way around it, as in a U-Net."""

    def __init__(self, activation):
        super().__init__()
        self.stem, self.branch = nn.Linear(32, 32), chain(activation, 8)[:-1]
        self.head = nn.Linear(64, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.cat([x, self.branch(x)], 1))


class Zeroed(nn.Module):
    """Residual blocks whose branches end in zeros (or in a tiny factor), as good networks start."""

    def __init__(self, factor):
        super().__init__()
        self.stem = nn.Linear(32, 32)
        self.blocks = nn.ModuleList(chain(nn.GELU, 4)[:-1] for _ in range(4))
        self.scale = nn.Parameter(torch.full((4, 32), factor))
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = self.stem(x)
        for block, scale in zip(self.blocks, self.scale, strict=True):
            x = x + scale * block(x)
        return self.head(x)


class Recurrent(nn.Module):
    def __init__(self, gain):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = nn.RNN(8, 32, batch_first=True), nn.Linear(32, 4)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.02)

    def forward(self, x):
        return self.head(self.rnn(x)[0]).mean(1)


def recurrent(gain):
    model = Recurrent(gain)
    x = torch.randn(16, 20, 8)
    return model, lambda: model(x).square().mean(), None


def dead_relu():
    model = chain(nn.ReLU, 3)
    nn.init.constant_(model[2].bias, -20.0)
    return simple(model)


def constant_weights():
    model = chain(nn.Tanh, 3)
    nn.init.constant_(model[2].weight, 0.1)
    return simple(model)


def zero_head():
    model = chain(nn.Tanh, 4)
    nn.init.zeros_(model[-1].weight)
    return simple(model)


def with_optimizer(make):
    model = chain(nn.Tanh, 3)
    return model, loss_of(model), make(model.parameters())


def in_half(scale):
    model = chain(nn.ReLU, 3, gain=2**0.5).half()
    x = torch.randn(64, 32).half()
    return model, lambda: functional.cross_entropy(model(x), torch.zeros(64, dtype=torch.long)) * scale, None


def tiny_loss(epsilon):
    model = chain(nn.Tanh, 3)
    plain = loss_of(model)
    return model, lambda: 1e-6 * plain(), torch.optim.Adam(model.parameters(), eps=epsilon)


def detached():
    model = chain(nn.Tanh, 3)
    x = torch.randn(8, 32)
    return model, lambda: model[2:](model[:2](x).detach()).square().mean(), None


def frozen_on_purpose():
    model = chain(nn.Tanh, 3)
    model[0].requires_grad_(False)
    return simple(model)


def least_squares(solved):
    torch.manual_seed(0)
    x, y = torch.randn(200, 5), torch.randn(200, 8)
    model = nn.Linear(5, 8)
    if solved:
        with torch.no_grad():
            solution = torch.linalg.lstsq(torch.cat([x, torch.ones(200, 1)], 1), y).solution
            model.weight.copy_(solution[:5].T)
            model.bias.copy_(solution[5])
    return model, lambda: functional.mse_loss(model(x), y), None


CASES = {
    "UT101": (vanishing, he_relu),
    "UT102": (twice_he, batch_normed),
    "UT103": (log_of_zero, minus_infinity_mask),
    "UT104": (vanishing, zero_head),
    "UT105": (lambda: simple(chain(nn.Tanh, 30, width=64, gain=3.0), width=64), he_relu),
    "UT106": (lambda: simple(Around(nn.Sigmoid)), lambda: simple(Zeroed(1e-6))),
    "UT107": (lambda: recurrent(0.5), lambda: recurrent(1.0)),
    "UT201": (lambda: simple(chain(nn.Tanh, 3), scale=30.0), lambda: simple(chain(nn.Tanh, 3))),
    "UT202": (dead_relu, he_relu),
    "UT301": (lambda: simple(chain(nn.Tanh, 12, width=64, gain=0.5), width=64), lambda: simple(chain(nn.Tanh, 12))),
    "UT302": (constant_weights, zero_head),
    "UT401": (
        lambda: with_optimizer(lambda p: torch.optim.Adam(p, lr=0.5)),
        lambda: with_optimizer(lambda p: torch.optim.Adam(p, lr=1e-3)),
    ),
    "UT402": (lambda: tiny_loss(1e-8), lambda: tiny_loss(1e-15)),
    "UT404": (lambda: in_half(1e-6), lambda: in_half(1.0)),
    "UT501": (detached, frozen_on_purpose),
    "UT601": (lambda: least_squares(True), lambda: least_squares(False)),
    "UT602": (batch_normed, he_relu),
}


def codes(case):
    return {finding.code for finding in examine(*case).findings}


@pytest.mark.parametrize("code", CASES)
def test_fires(code):
    assert code in codes(CASES[code][0]())


@pytest.mark.parametrize("code", CASES)
def test_stays_silent(code):
    assert code not in codes(CASES[code][1]())


@pytest.mark.parametrize(
    "healthy",
    [he_relu, batch_normed, minus_infinity_mask, zero_head, log_of_a_half, frozen_on_purpose,
     lambda: simple(Zeroed(0.0)), lambda: simple(Zeroed(1e-6)), lambda: simple(Around(nn.Tanh))],
)  # fmt: skip
def test_healthy_networks_get_notes_at_most(healthy):
    assert [f.code for f in examine(*healthy()).findings if f.severity is not Severity.NOTE] == []


def test_every_rule_has_both_examples():
    assert {code for code, rule in rules.RULES.items() if rule.over is rules.STEP} == set(CASES)


@pytest.mark.parametrize("rule", rules.RULES.values(), ids=rules.RULES)
def test_every_rule_is_explained(rule):
    places = [rule.explanation.find(f"\n    {section}:\n") for section in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)
    assert re.fullmatch(r"UT[1-7]\d\d", rule.code)


def test_findings_give_their_numbers():
    (finding,) = (f for f in examine(*vanishing()).findings if f.code == "UT101")
    total = sum(value for name, value in finding.evidence.items() if name.startswith("decades by"))
    assert total == pytest.approx(finding.evidence["total"], rel=1e-9)
    assert finding.where == "12 -> 0"
    assert "activation" in finding.message


def test_rules_read_records_alone():
    """A Run typed in by hand: no torch, no model."""
    sites = tuple(Site(i, f"fc{i}", "addmm", Role.WEIGHT, (32, 8), n_out=8, parameters=(f"fc{i}.w",)) for i in range(6))
    edges = tuple(Edge(i, i + 1) for i in range(5))
    norms = 10.0 ** (-0.5 * np.arange(6))
    columns = {"grad_output": norms[None], "progress": (norms**2 / (norms**2).sum())[None]}
    run = Run({}, sites, edges, columns, {"contribution": norms[None, 1:], "share": np.ones((1, 5))})
    assert [finding.code for finding in rules.judge([run])] == ["UT101", "UT104"]


def test_the_memory_horizon_is_that_of_the_recurrence():
    (finding,) = (f for f in examine(*recurrent(0.5)).findings if f.code == "UT107")
    assert finding.evidence["gain"] == pytest.approx(0.5, abs=0.02)
    assert finding.evidence["horizon"] == pytest.approx(np.log(10) / np.log(2), abs=0.2)


def test_one_code_one_rule():
    with pytest.raises(ValueError, match="two rules have the code UT101"):
        rules.registry.rule("UT101", "another")(lambda _: iter(()))


def test_a_gradient_that_vanishes_until_nothing_is_left_of_it_has_vanished():
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(300)])
    x = torch.randn(8, 8)
    report = examine(net, lambda: net(x).square().mean())
    found = next(finding for finding in report.findings if finding.code == "UT101")
    assert report.run.column("grad_output")[-1] == 0
    assert "nothing is left" in found.message
    assert -46 < found.evidence["total"] < -30  # float32 ends at 1.4e-45
    by_cause = sum(value for name, value in found.evidence.items() if name.startswith("decades by"))
    assert by_cause == pytest.approx(found.evidence["total"], abs=0.01)
