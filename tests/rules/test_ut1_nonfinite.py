"""UT103: for each an example that fires, and a healthy one that looks like it and doesn't."""

import numpy as np
import pytest

from rules.networks import codes, log_of_zero, minus_infinity_mask
from undertow.record import Event, Role, Run, Severity, Site
from undertow.rules import over_time

CASES = {
    "UT103": (log_of_zero, minus_infinity_mask),
}


@pytest.mark.parametrize("code", CASES)
def test_fires(code):
    assert code in codes(CASES[code][0]())


@pytest.mark.parametrize("code", CASES)
def test_stays_silent(code):
    assert code not in codes(CASES[code][1]())


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


@pytest.mark.parametrize(
    ("exact", "words"), [(True, "At step 37 numbers"), (False, "After step 30, and by step 37, numbers")]
)
def test_an_inf_at_a_step_that_was_not_taped_is_told_from_the_event(exact, words):
    """The watcher saw it at step 41, in what it had kept of the steps between."""
    steps = np.array([0.0, 10, 20, 30, 41, 50])
    data = {"step": 37, "after": 36 if exact else 30, "exact": exact, "lag": 5, "parameters": ["fc.weight", "fc.bias"]}
    run = Run(
        {},
        (Site(0, "fc", "addmm", Role.WEIGHT, parameters=("fc.weight",)),),
        (),
        {"grad_output": np.ones((1, 1))},
        steps={"step": np.array([0.0])},
        scalars={"step": steps, "nonfinite": np.array([0.0, 0, 0, 0, 1, 1])},
        events=(Event(37, 1.0, "nonfinite", "the gradient isn't finite", data),),
    )
    (finding,) = over_time(run)
    assert (finding.code, finding.began, finding.severity) == ("UT103", 37, Severity.ERROR)
    assert finding.message.startswith(words)
    assert "not taped" in finding.message
    assert finding.sites == (0,)
    assert (finding.where, finding.evidence["lag"], finding.from_start) == ("fc.weight, fc.bias", 5, False)


def test_numbers_that_are_finite_again_are_a_warning():
    flags = np.array([0.0, 0, 1, 0, 0])
    (finding,) = over_time(Run({}, (), scalars={"step": np.arange(5.0), "nonfinite": flags}))
    assert (finding.began, finding.ended, finding.severity) == (2, 3, Severity.WARNING)


@pytest.mark.parametrize(("lost", "codes"), [(5, []), (40, ["UT103"])])
def test_a_scaler_that_never_finds_its_scale_again_has_lost_the_run(lost, codes):
    skipped = np.array([1.0, 1, 0] + [0.0] * 60 + [1.0] * lost)
    run = Run({}, (), scalars={"step": np.arange(float(len(skipped))), "nonfinite": skipped, "skipped": skipped})
    findings = over_time(run)
    assert [finding.code for finding in findings] == codes
    assert all(finding.began == 63 for finding in findings)
