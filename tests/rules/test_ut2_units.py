"""UT201 and UT202: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from rules.networks import chain, dead_relu, he_relu, simple
from undertow.examination import examine
from undertow.record import Severity
from undertow.testing import check_rule

CASES = {
    "UT201": (lambda: simple(chain(nn.Tanh, 3), scale=30.0), lambda: simple(chain(nn.Tanh, 3))),
    "UT202": (dead_relu, he_relu),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def sure_discriminator(loss_of):
    torch.manual_seed(0)
    generator, judge = nn.Linear(4, 8), nn.Linear(8, 1)
    nn.init.constant_(judge.bias, -9.0)
    judge.requires_grad_(False)
    noise = torch.randn(32, 4)
    return generator, lambda: loss_of(judge(generator(noise)))


@pytest.mark.parametrize(
    ("loss_of", "severity"),
    [
        (lambda z: (1 - z.sigmoid()).log().mean(), Severity.WARNING),
        (lambda z: (1 - z.sigmoid() + 1e-8).log().mean(), Severity.WARNING),
        (lambda z: -functional.binary_cross_entropy(z.sigmoid(), torch.zeros_like(z)), Severity.WARNING),
        (lambda z: -z.sigmoid().log().mean(), Severity.NOTE),
        (lambda z: functional.binary_cross_entropy(z.sigmoid(), torch.zeros_like(z)), Severity.NOTE),
    ],
)
def test_a_generator_that_a_sure_discriminator_gives_no_slope(loss_of, severity):
    found = {each.code: each for each in examine(*sure_discriminator(loss_of)).findings}["UT201"]
    assert found.severity is severity
    assert ("with_logits" in found.snippet) is (severity is Severity.WARNING)


@pytest.mark.parametrize(("std", "begun", "told"), [(2.0, False, True), (2.0, True, False), (0.1, False, False)])
def test_a_recurrence_that_starts_saturated_is_told_before_its_first_step(std, begun, told):
    torch.manual_seed(0)
    net, x = nn.LSTM(8, 48, batch_first=True), torch.randn(32, 8, 8)
    for p in net.parameters():
        nn.init.normal_(p, std=std)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)
    if begun:
        net(x)[0].square().mean().backward()
        optimizer.step()
    found = {each.code: each for each in examine(net, lambda: net(x)[0][:, -1].square().mean(), optimizer).findings}
    assert ("UT201" in found and "tanh" in found["UT201"].message) is told
