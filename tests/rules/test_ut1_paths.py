"""UT106 and UT107: for each an example that fires, and a healthy one that looks like it and doesn't."""

import numpy as np
import pytest
from torch import nn

from rules.networks import Around, Zeroed, codes, recurrent, simple
from undertow.examination import examine

CASES = {
    "UT106": (lambda: simple(Around(nn.Sigmoid)), lambda: simple(Zeroed(1e-6))),
    "UT107": (lambda: recurrent(0.5), lambda: recurrent(1.0)),
}


@pytest.mark.parametrize("code", CASES)
def test_fires(code):
    assert code in codes(CASES[code][0]())


@pytest.mark.parametrize("code", CASES)
def test_stays_silent(code):
    assert code not in codes(CASES[code][1]())


def test_the_memory_horizon_is_that_of_the_recurrence():
    (finding,) = (f for f in examine(*recurrent(0.5)).findings if f.code == "UT107")
    assert finding.evidence["gain"] == pytest.approx(0.5, abs=0.02)
    assert finding.evidence["horizon"] == pytest.approx(np.log(10) / np.log(2), abs=0.2)
