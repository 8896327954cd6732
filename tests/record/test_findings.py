"""Gains by cause."""

from undertow.record import BackwardGain


def test_the_cause_is_on_the_side_of_the_gain():
    shrinking = BackwardGain(0, 1, 0.5, {"activation": 0.2, "weights": 10.0, "unattributed": 0.25})
    growing = BackwardGain(0, 1, 2.0, {"activation": 0.2, "weights": 10.0, "unattributed": 1.0})
    assert (shrinking.cause, growing.cause) == ("activation", "weights")
