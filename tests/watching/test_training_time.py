"""How long a step takes, of a training that somebody interrupts."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.watching.training_time import TrainingTime


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-4, 1.0), st.lists(st.integers(1, 50), min_size=2, max_size=30), st.floats(0.0, 5.0))
def test_what_watching_costs_is_no_part_of_a_step(seconds: float, gaps: list[int], cost: float) -> None:
    now = 0.0
    time = TrainingTime(lambda: now)
    assert time.pass_to(0) == 0
    for step, gap in zip(itertools.accumulate(gaps), gaps, strict=True):
        now += gap * seconds + cost
        time.exclude(cost)
        assert time.pass_to(step) == gap
    assert time.typical == pytest.approx(seconds, rel=1e-6)
    assert time.elapsed == pytest.approx(sum(gaps) * seconds, rel=1e-6)


def test_a_pause_is_no_step_of_its_length() -> None:
    now = 0.0
    time = TrainingTime(lambda: now)
    for step in range(100):
        now += 0.01
        time.pass_to(step)
    now += 60.0
    time.pass_to(100)
    assert time.typical < 0.03
    assert time.elapsed < 1.1
