"""UT501: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import undertow
from rules.networks import detached, frozen_on_purpose
from undertow.testing import check_rule

CASES = {
    "UT501": (detached, frozen_on_purpose),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


SEVERED = {
    "made anew": lambda z, y: torch.tensor(functional.cross_entropy(z, y).item(), requires_grad=True),
    "of choices": lambda z, y: functional.l1_loss(z.argmax(1).float().requires_grad_(), y.float()),
    "of its values": lambda z, y: functional.cross_entropy(z.data, y).requires_grad_(),
}
"""Losses that a training backpropagates without a word."""


@pytest.mark.parametrize("kind", SEVERED)
def test_a_loss_that_passes_nothing_on_is_an_error_examined_and_watched(tmp_path, kind):
    net, x, y = nn.Linear(4, 3), torch.randn(8, 4), torch.arange(8) % 3
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    (examined,) = undertow.examine(net, lambda: SEVERED[kind](net(x), y), optimizer).findings
    with undertow.watch(net, optimizer, path=tmp_path / "run.undertow", every=5) as watcher:
        for _ in range(12):
            optimizer.zero_grad()
            SEVERED[kind](net(x), y).backward()
            optimizer.step()
    (watched,) = undertow.explain(undertow.open_run(watcher.path)).findings
    assert {(each.code, each.severity.value) for each in (examined, watched)} == {("UT501", "error")}
    assert ("argmax" in examined.message) == (kind == "of choices")


def test_an_optimizer_whose_gradients_come_another_way_is_none(tmp_path):
    net, x = nn.Linear(4, 1), torch.randn(8, 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with undertow.watch(net, optimizer, path=tmp_path / "run.undertow", every=5) as watcher:
        for _ in range(12):
            parameters = list(net.parameters())
            for p, g in zip(parameters, torch.autograd.grad(net(x).square().mean(), parameters), strict=True):
                p.grad = g
            optimizer.step()
    assert "UT501" not in {each.code for each in undertow.explain(undertow.open_run(watcher.path)).findings}
