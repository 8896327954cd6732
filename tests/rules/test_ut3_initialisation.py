"""UT301 and UT302: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
from torch import nn

from rules.networks import chain, constant_weights, simple, zero_head
from undertow.testing import check_rule

CASES = {
    "UT301": (lambda: simple(chain(nn.Tanh, 12, width=64, gain=0.5), width=64), lambda: simple(chain(nn.Tanh, 12))),
    "UT302": (constant_weights, zero_head),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])
