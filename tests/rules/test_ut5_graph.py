"""UT501: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest

from rules.networks import codes, detached, frozen_on_purpose

CASES = {
    "UT501": (detached, frozen_on_purpose),
}


@pytest.mark.parametrize("code", CASES)
def test_fires(code):
    assert code in codes(CASES[code][0]())


@pytest.mark.parametrize("code", CASES)
def test_stays_silent(code):
    assert code not in codes(CASES[code][1]())
