"""UT405: a loss that jumps, and what moved first."""

import numpy as np
import pytest

from undertow.record import Role, Run, Site
from undertow.rules import over_time

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


def spiked(taped, moved, calm=200, top=8.0):
    """A loss that is noted at every step and jumps at step ``calm``; parameters read at some, moved at one of them."""
    rng, taped = np.random.default_rng(0), np.asarray(taped, float)
    losses = np.where(np.arange(calm + 20) < calm, 1.0, top) + 0.01 * rng.standard_normal(calm + 20)
    norms = 1 + 0.01 * rng.standard_normal((len(taped), 2))
    norms[taped == moved, 0] = 10.0
    run = Run(
        {},
        (Site(0, "fc", "addmm", Role.WEIGHT, parameters=("fc.weight",)),),
        scalars={"step": np.arange(calm + 20.0), "loss": losses},
        parameters=("fc.weight", "fc.bias"),
        parameter_columns={"update_norm": norms},
        parameter_steps=taped,
    )
    (spike,) = (finding for finding in over_time(run) if finding.code == "UT405")
    return spike


EVERY, SPARSE, LONG_AGO = np.arange(220), np.arange(0, 220, 15), np.arange(0, 140, 5)


@pytest.mark.parametrize(
    ("taped", "moved", "lead", "words"),
    [
        (EVERY, 199, 1, "First moved, at step 199 (1 step before): update of fc.weight (x 1"),
        (EVERY, 190, 10, "First moved, at step 190 (10 steps before)"),
        (EVERY, 200, 0, "At the same step moved: update of fc.weight"),
        (EVERY, 180, None, "In the 11 steps taped just before nothing else was out of the ordinary."),
        (SPARSE, 195, 5, "First moved, at step 195"),
        (SPARSE, 150, 50, "First moved, at step 150 (50 steps before)"),
        (SPARSE, 135, None, "In the 4 steps taped just before nothing else was out of the ordinary."),
        (SPARSE, 30, None, "In the 4 steps taped just before nothing else"),
        (LONG_AGO, 135, None, "What moved first isn't known: too few steps just before it were measured in full."),
        (np.array([170, 180, 190]), 190, None, "What moved first isn't known"),
        (
            np.append(LONG_AGO, 200),
            200,
            0,
            "What moved first isn't known: too few steps just before it were measured in full.",
        ),
        (np.array([]), 0, None, "What moved first isn't known"),
    ],
)
def test_what_moved_first_is_looked_for_shortly_before_the_spike(taped, moved, lead, words):
    spike = spiked(taped, moved)
    assert spike.began == 200
    assert spike.evidence.get("lead") == lead
    assert words in spike.message
    assert spike.sites == (() if lead is None else (0,))


def test_a_spike_between_two_notes_says_between_which():
    losses, steps = np.where(np.arange(60) < 40, 1.0, 5.0), 10 * np.arange(60.0)
    found = over_time(Run({}, (), scalars={"step": steps, "loss": losses}))
    (spike,) = (each for each in found if each.code == "UT405")
    assert spike.message.startswith("The loss rose from 1 to 5 between steps 390 and 400 and has not come back.")
    assert "between" not in spiked(EVERY, 199).message
