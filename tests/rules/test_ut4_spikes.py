"""UT405: a loss that jumps, and what moved first."""

import pytest

RUNS = {
    "UT405": ("odd batch", "hard batches"),
}
"""The training in which it fires, and the one in which it doesn't; see `rules.trainings`."""


@pytest.mark.parametrize("code", RUNS)
def test_fires_on_a_run(found, code):
    assert code in found(RUNS[code][0])


@pytest.mark.parametrize("code", RUNS)
def test_stays_silent_on_a_healthy_run(found, code):
    assert code not in found(RUNS[code][1])


@pytest.mark.parametrize("name", ["spike", "dying", "thrown away"])
def test_a_spike_tells_which_update_moved_first(found, name):
    spike = found(name)["UT405"]
    assert spike.began == 61  # the learning rate of step 60 was too large: the next loss shows it
    assert spike.evidence["lead"] == 1
    assert "update of" in spike.where
    assert spike.sites
    assert "at step 60" in spike.message


def test_a_spike_of_one_batch_moves_with_the_loss(found):
    spike = found("odd batch")["UT405"]
    assert spike.began == 60
    assert spike.evidence["lead"] == 0
    assert "gradient of" in spike.where
    assert "At the same step moved: " in spike.message
