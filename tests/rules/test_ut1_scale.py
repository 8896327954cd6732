"""UT101 and UT102: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
import torch
from torch import nn

from rules.networks import batch_normed, chain, he_relu, simple, twice_he, vanishing
from undertow.examination import examine
from undertow.testing import check_rule

CASES = {
    "UT101": (vanishing, he_relu),
    "UT102": (twice_he, batch_normed),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def test_findings_give_their_numbers():
    (finding,) = (f for f in examine(*vanishing()).findings if f.code == "UT101")
    total = sum(value for name, value in finding.evidence.items() if name.startswith("decades by"))
    assert total == pytest.approx(finding.evidence["total"], rel=1e-9)
    assert finding.where == "12 -> 0"
    assert "activation" in finding.message


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


class Added(nn.Module):
    """Blocks of He's weights, each added to what goes by, over a factor of their own or not."""

    def __init__(self, factor):
        super().__init__()
        he = 2**0.5
        self.blocks = nn.ModuleList(nn.Sequential(*chain(nn.ReLU, 2, gain=he, seed=n)[:3]) for n in range(16))
        self.factor, self.head = factor, nn.Linear(32, 4)

    def forward(self, x):
        for block in self.blocks:
            x = x + (block(x) if self.factor is None else self.factor * block(x))
        return self.head(x)


@pytest.mark.parametrize("factor", [None, 1.0])
def test_branches_of_usual_weights_that_add_up_are_not_called_weights_that_are_too_large(factor):
    model = Added(factor)
    found = {each.code: each for each in examine(*simple(model)).findings}["UT102"]
    assert "branches that are added up" in found.message
    assert "too large" not in found.message
    assert "the 15 layers that end one" in found.advice  # the first one is added to data
