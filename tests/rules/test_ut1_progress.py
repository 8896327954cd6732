"""UT104 and UT105: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
import torch
from torch import nn

from rules.networks import chain, he_relu, simple, vanishing, zero_head
from undertow import examine
from undertow.record import Severity
from undertow.testing import check_rule

CASES = {
    "UT104": (vanishing, zero_head),
    "UT105": (lambda: simple(chain(nn.Tanh, 30, width=64, gain=3.0), width=64), he_relu),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])


def test_what_ended_is_said_to_have_ended_and_but_a_note(found):
    over = found("front still for a while")["UT104"]
    assert (over.began, over.ended, over.severity) == (50, 100, Severity.NOTE)
    assert found("front still")["UT104"].ended is None


def test_layers_without_a_learning_rate_stand_still_on_purpose(found):
    still = found("frozen on purpose")["UT104"]
    assert (still.began, still.ended) == (0, 31)
    assert "Their learning rate is 0." in still.message
    assert "Their learning rate is 0." not in found("front still")["UT104"].message


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_half_whose_learning_rate_is_next_to_nothing_is_given_the_others_rate(front, kind):
    net, loss, _ = simple(chain(nn.ReLU, 5, gain=2**0.5))
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    halves = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    slow, fast = (
        [{"params": [p for layer in half for p in layer.parameters()]}] for half in halves[:: 1 if front else -1]
    )
    slow[0]["lr"], fast[0]["lr"] = 1e-9, 0.01
    found = next(f for f in examine(net, loss, kind(slow + fast)).findings if f.code == ("UT104" if front else "UT105"))
    assert "their learning rate is 1e-09, that of the others 0.01" in found.message
    assert "networks like this" not in found.message
    assert found.advice.startswith("Give these layers the learning rate of the others")
    assert 'max(group["lr"], 0.01)' in found.snippet
