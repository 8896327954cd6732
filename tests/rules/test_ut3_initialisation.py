"""UT301 and UT302: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
import torch
from torch import nn

from rules.networks import chain, constant_weights, simple, zero_head
from undertow import examine
from undertow.record import Severity
from undertow.testing import check_rule

CASES = {
    "UT301": (lambda: simple(chain(nn.Tanh, 12, width=64, gain=0.5), width=64), lambda: simple(chain(nn.Tanh, 12))),
    "UT302": (constant_weights, zero_head),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


class Scaled(nn.Module):
    """He's initialisation, and a constant factor behind every layer that undoes it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(12))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        for layer in self.layers:
            x = 0.3 * layer(x).relu()
        return self.head(x)


def test_weights_of_the_right_variance_are_not_blamed_for_a_constant_factor():
    torch.manual_seed(0)
    found = {finding.code: finding for finding in examine(*simple(Scaled(), width=64)).findings}
    assert "UT301" not in found
    assert "scaling" in found["UT101"].message


def test_units_that_get_nothing_but_rounding_stay_alike_however_that_points():
    net = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    for layer in net[::2]:
        nn.init.constant_(layer.weight, 0.05)
        nn.init.zeros_(layer.bias)
    found = [each for each in examine(*simple(net)).findings if each.code == "UT302"]
    assert found[0].severity is Severity.ERROR
    assert "stay alike" in found[0].message
