"""UT108: the front had its gradient and lost it."""

import pytest

RUNS = {
    "UT108": ("dying", "by heart"),
}
"""The training in which it fires, and the one in which it doesn't; see `rules.trainings`."""


@pytest.mark.parametrize("code", RUNS)
def test_fires_on_a_run(found, code):
    assert code in found(RUNS[code][0])


@pytest.mark.parametrize("code", RUNS)
def test_stays_silent_on_a_healthy_run(found, code):
    assert code not in found(RUNS[code][1])


def test_a_collapse_begins_with_the_step_that_threw_the_weights_away(found):
    dying = found("dying")
    assert 61 <= dying["UT108"].began <= 70
    assert dying["UT108"].evidence["loss after"] > dying["UT108"].evidence["loss before"]
