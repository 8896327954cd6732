"""UT406: a run that breaks in its first steps."""

import pytest

RUNS = {
    "UT406": ("post-norm", "post-norm, warmed up"),
}
"""The training in which it fires, and the one in which it doesn't; see `rules.trainings`."""


@pytest.mark.parametrize("code", RUNS)
def test_fires_on_a_run(found, code):
    assert code in found(RUNS[code][0])


@pytest.mark.parametrize("code", RUNS)
def test_stays_silent_on_a_healthy_run(found, code):
    assert code not in found(RUNS[code][1])


def test_a_post_norm_transformer_breaks_without_warm_up_alone(found):
    told = found("post-norm")["UT406"]
    assert told.evidence["post-norm"] > 0.9
    assert told.evidence["rate at the start"] == 1
    assert 0 < told.began <= 40
    assert "UT406" not in found("post-norm, warmed up")
    assert "UT406" not in found("pre-norm")
