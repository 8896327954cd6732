"""UT106: an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
from torch import nn

from rules.networks import Around, Zeroed, simple
from undertow.testing import check_rule

CASES = {
    "UT106": (lambda: simple(Around(nn.Sigmoid)), lambda: simple(Zeroed(1e-6))),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])
