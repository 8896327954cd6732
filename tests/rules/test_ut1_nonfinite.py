"""UT103: for each an example that fires, and a healthy one that looks like it and doesn't."""

import numpy as np
import pytest

from rules.networks import codes, log_of_zero, minus_infinity_mask

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
