"""Values of a setting: a range reaches both ends."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.sweeping import axes


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e6), st.integers(2, 50), st.sampled_from(["linear", "log"]))
def test_a_range_reaches_both_ends_in_even_steps(low, factor, count, spacing):
    found = axes.values("x", {"from": low, "to": low * factor, "count": count, "spacing": spacing})
    assert found[0] == pytest.approx(low)
    assert found[-1] == pytest.approx(low * factor)
    steps = [math.log(b / a) if spacing == "log" else b - a for a, b in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-6, abs=1e-9 * low * factor)
