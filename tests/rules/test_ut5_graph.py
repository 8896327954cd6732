"""UT501: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest

from rules.networks import detached, frozen_on_purpose
from undertow.testing import check_rule

CASES = {
    "UT501": (detached, frozen_on_purpose),
}


@pytest.mark.parametrize("code", CASES)
def test_keeps_the_contract_of_rules(code):
    check_rule(code, *CASES[code])
