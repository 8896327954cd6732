"""What `over_time` says of real training runs: what went wrong, when it began, and nothing of healthy twins."""

import numpy as np
import pytest

from rules.trainings import FAULTY, HEALTHY
from undertow.record import Severity
from undertow.rules import RULES, RUN, over_time


@pytest.fixture
def found(recorded):
    """Findings on a training, by code."""

    def of(name):
        findings = over_time(recorded(name)[0])
        codes = [finding.code for finding in findings]
        assert len(set(codes)) == len(codes), codes
        return dict(zip(codes, findings, strict=True))

    return of


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_get_notes_at_most(found, name):
    assert [(f.code, f.message) for f in found(name).values() if f.severity is not Severity.NOTE] == []


FIRES = {
    "vanishing": {"UT101", "UT104", "UT301"},
    "front still": {"UT104"},
    "back still": {"UT105"},
    "thrown away": {"UT103", "UT405"},
    "dying": {"UT108", "UT202", "UT405"},
    "spike": {"UT405"},
    "odd batch": {"UT405"},
    "infinite": {"UT103"},
    "infinite in the middle": {"UT103"},
    "clipped hard": {"UT403"},
    "large epsilon": {"UT402"},
    "float16 runs dry": {"UT404"},
    "float16 runs dry early": {"UT404"},
    "small in float16": {"UT404"},
    "post-norm": {"UT101", "UT104", "UT108", "UT406"},
}


@pytest.mark.parametrize("name", FIRES)
def test_faults_are_found(found, name):
    findings = found(name)
    assert FIRES[name] <= set(findings)
    faults = FIRES[name] if name != "spike" else set()  # it came back, and was the only one
    assert all(findings[code].severity is not Severity.NOTE for code in faults)


def test_every_rule_over_time_has_a_run_in_which_it_fires():
    over = {code for code, rule in RULES.items() if rule.over is RUN}
    assert over <= set().union(*FIRES.values())
    assert set(FIRES) <= set(FAULTY)


def test_a_fault_of_the_first_step_is_born_and_another_has_developed(found):
    assert [(f.began, f.from_start) for f in map(found("vanishing").get, ("UT101", "UT104"))] == [(0, True)] * 2
    assert [(f.began, f.from_start) for f in (found("front still")["UT104"], found("back still")["UT105"])] == [
        (50, False),
        (50, False),
    ]


@pytest.mark.parametrize(("name", "step"), [("float16 runs dry", 30), ("float16 runs dry early", 15)])
def test_float16_runs_dry_when_the_loss_is_scaled_down_and_nothing_has_converged(found, name, step):
    """The loss stands still from there on, because nothing is learned any more."""
    dry = found(name)["UT404"]
    assert (dry.began, dry.from_start, dry.ended, dry.severity) == (step, False, None, Severity.WARNING)
    assert len(dry.sites) == 4
    assert "UT601" not in found(name)


def test_a_gradient_that_a_scaler_makes_large_enough_is_not_too_small_for_float16(recorded, found):
    """The scale is taken out of what is recorded, but float16 has to hold the gradient with it."""
    assert found("small in float16")["UT404"].from_start
    assert "UT404" not in found("small in float16, scaled")
    told = [
        {event.data["code"] for event in recorded(name)[0].events if event.kind == "finding"}
        for name in ("small in float16", "small in float16, scaled")
    ]
    assert ["UT404" in codes for codes in told] == [True, False]


def test_what_ended_is_said_to_have_ended_and_but_a_note(found):
    over = found("front still for a while")["UT104"]
    assert (over.began, over.ended, over.severity) == (50, 100, Severity.NOTE)
    assert found("front still")["UT104"].ended is None


def test_layers_without_a_learning_rate_stand_still_on_purpose(found):
    still = found("frozen on purpose")["UT104"]
    assert (still.began, still.ended) == (0, 31)
    assert "Their learning rate is 0." in still.message
    assert "learning rate" not in found("front still")["UT104"].message


def test_converged_is_told_from_born_vanished_and_from_collapsed(found):
    converged, from_start, collapsed = found("by heart"), found("vanishing, one batch"), found("dying")
    assert "UT601" in converged
    assert not {"UT101", "UT104", "UT108"} & set(converged)
    assert "UT101" in from_start
    assert not {"UT601", "UT108"} & set(from_start)
    assert "UT108" in collapsed
    assert not {"UT601"} & set(collapsed)


def test_a_converged_run_stood_still_since_then(recorded, found):
    run, settled = recorded("by heart")[0], found("by heart")["UT601"]
    loss, steps = run.scalars["loss"], run.scalars["step"]
    since = loss[steps >= settled.began]
    assert settled.evidence["end"] == pytest.approx(np.median(loss[-25:]))
    assert np.ptp(since) < 0.05 * (loss[0] - loss[-1])
    assert loss[steps < settled.began].max() > 10 * since.max()


def test_a_collapse_begins_with_the_step_that_threw_the_weights_away(found):
    dying = found("dying")
    assert 61 <= dying["UT108"].began <= 70
    assert dying["UT108"].evidence["loss after"] > dying["UT108"].evidence["loss before"]


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


def test_the_first_inf_is_told_to_the_step_with_its_place(found):
    middle, inputs = found("infinite in the middle")["UT103"], found("infinite")["UT103"]
    assert (middle.began, inputs.began) == (37, 37)
    assert not middle.from_start
    assert "log_softmax" in middle.message
    assert "forward pass" in middle.message
    assert inputs.where == "0.weight"  # tanh hides the infinite input from all but the first layer's weights


def test_steps_that_a_scaler_skips_are_no_fault(recorded, found):
    assert np.nansum(recorded("scaler")[0].scalars["skipped"]) >= 3
    assert "UT103" not in found("scaler")


def test_clipping_is_told_by_how_much(recorded, found):
    run, clipping = recorded("clipped hard")[0], found("clipped hard")["UT403"]
    ratio = run.scalars["grad_norm"] / run.scalars["grad_norm_unclipped"]
    assert clipping.evidence["cut to"] == pytest.approx(np.median(ratio))
    assert clipping.evidence["clipped"] == 1
    assert clipping.from_start


def test_a_post_norm_transformer_breaks_without_warm_up_alone(found):
    told = found("post-norm")["UT406"]
    assert told.evidence["post-norm"] > 0.9
    assert told.evidence["rate at the start"] == 1
    assert 0 < told.began <= 40
    assert "UT406" not in found("post-norm, warmed up")
    assert "UT406" not in found("pre-norm")
