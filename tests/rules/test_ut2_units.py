"""UT201 and UT202: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
from torch import nn

from rules.networks import chain, dead_relu, he_relu, simple
from undertow.testing import check_rule

CASES = {
    "UT201": (lambda: simple(chain(nn.Tanh, 3), scale=30.0), lambda: simple(chain(nn.Tanh, 3))),
    "UT202": (dead_relu, he_relu),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])
