"""UT104 and UT105: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
from torch import nn

from rules.networks import chain, he_relu, simple, vanishing, zero_head
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
    assert "learning rate" not in found("front still")["UT104"].message
