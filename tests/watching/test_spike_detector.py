"""A loss that rises far above what it has been is a spike, and one that falls or wanders is none."""

from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.watching.spike_detector import SETTLED, SpikeDetector

LOSSES = st.lists(st.floats(0.9, 1.1), min_size=SETTLED + 5, max_size=80)


@settings(max_examples=50, deadline=None)
@given(LOSSES, st.floats(3.0, 1e6))
def test_a_jump_is_a_spike_and_what_was_before_is_none(losses: list[float], jump: float) -> None:
    detector = SpikeDetector()
    assert not any(map(detector.is_spike, losses))
    assert detector.is_spike(jump)


@settings(max_examples=50, deadline=None)
@given(LOSSES, st.floats(1e-3, 1e3))
def test_the_answer_does_not_depend_on_the_losss_unit(losses: list[float], unit: float) -> None:
    ours, theirs = SpikeDetector(), SpikeDetector()
    for loss in (*losses, 9.0, 1.0, 4.0):
        assert ours.is_spike(loss) == theirs.is_spike(loss * unit)


def test_nobody_knows_a_spike_before_the_loss_has_settled() -> None:
    detector = SpikeDetector()
    assert not any(detector.is_spike(loss) for loss in [1.0] * (SETTLED - 1) + [1e9])


def test_what_is_not_finite_is_no_spike_and_leaves_no_trace() -> None:
    detector = SpikeDetector()
    for loss in (1.0, float("nan"), float("inf"), 1.0):
        assert not detector.is_spike(loss)
    assert (detector.mean, detector.known) == (1.0, 2)
