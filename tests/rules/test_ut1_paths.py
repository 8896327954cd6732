"""UT106: an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
from torch import nn

from rules.networks import Around, Zeroed, codes, simple

CASES = {
    "UT106": (lambda: simple(Around(nn.Sigmoid)), lambda: simple(Zeroed(1e-6))),
}


@pytest.mark.parametrize("code", CASES)
def test_fires(code):
    assert code in codes(CASES[code][0]())


@pytest.mark.parametrize("code", CASES)
def test_stays_silent(code):
    assert code not in codes(CASES[code][1]())
