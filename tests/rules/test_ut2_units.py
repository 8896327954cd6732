"""UT201 and UT202: for each an example that fires, and a healthy one that looks like it and doesn't."""

import pytest
from torch import nn

from rules.networks import chain, codes, dead_relu, he_relu, simple

CASES = {
    "UT201": (lambda: simple(chain(nn.Tanh, 3), scale=30.0), lambda: simple(chain(nn.Tanh, 3))),
    "UT202": (dead_relu, he_relu),
}


@pytest.mark.parametrize("code", CASES)
def test_fires(code):
    assert code in codes(CASES[code][0]())


@pytest.mark.parametrize("code", CASES)
def test_stays_silent(code):
    assert code not in codes(CASES[code][1]())
