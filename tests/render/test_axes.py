from hypothesis import given
from hypothesis import strategies as st

from undertow.render.axes import log_ticks

positive = st.floats(1e-30, 1e30)


@given(positive, st.floats(1.5, 1e30))
def test_log_ticks_lie_within_and_are_few_but_enough(low, ratio):
    high = low * ratio
    ticks = log_ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert all(low * (1 - 1e-6) <= tick <= high * (1 + 1e-6) for tick in ticks)
    assert (3 if ratio > 6 else 1) <= len(ticks) <= 9
