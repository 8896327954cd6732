"""Activations made of functions: their kinks are found, and unusable ones refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from undertow.activations import ACTIVATIONS, Activation
from undertow.theory import functions
from undertow.theory.fixedpoint import slope_moment, value_moment


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_function_without_derivative_is_as_good_as_the_named_activation(name):
    known = ACTIVATIONS[name]
    found = functions.from_function(lambda z: known.value(z))
    assert found.kinks == known.kinks
    for q in (1e-6, 0.1, 1.0, 10.0):
        assert float(slope_moment(found, q)) == pytest.approx(float(slope_moment(known, q)), rel=1e-10)
        assert float(value_moment(found, q)) == pytest.approx(float(value_moment(known, q)), rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=3, unique_by=lambda k: round(k)), st.floats(0.05, 2))
def test_kinks_are_found_wherever_they_are(kinks, bend):
    def broken_line(z):
        return np.tanh(z) + sum(bend * np.maximum(np.asarray(z) - kink, 0) for kink in kinks)

    gaps = np.diff(sorted(kinks))
    if gaps.size and gaps.min() < 0.1:
        return
    np.testing.assert_allclose(functions.from_function(broken_line).kinks, sorted(kinks), atol=1e-6)


def test_hard_tanh_and_relu6_have_closed_forms():
    inside = special.erf(1 / np.sqrt(2 * 1.7))
    assert float(slope_moment(lambda z: np.clip(z, -1, 1), 1.7)) == pytest.approx(inside, rel=1e-12)
    assert float(slope_moment(lambda z: np.clip(z, 0, 6), 9.0)) == pytest.approx(special.ndtr(2.0) - 0.5, rel=1e-12)


def test_given_derivative_and_kinks_are_used():
    found = functions.from_function(np.abs, derivative=np.sign, kinks=(0.0,))
    assert found.derivative is np.sign
    assert functions.as_activation(found) is found


def dead(_z):
    raise AssertionError("must not be called")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (np.sign, "jumps at z = 0"),
        (lambda z: np.where(z > 1, z, 0.0), "jumps at z = 1"),
        (np.round, "jumps"),
        (lambda z: np.where(np.abs(z) < 30, z, np.nan), "isn't finite at z = -?30"),
        (lambda z: np.exp(z**2), "isn't finite"),
        (lambda z: z.sum(), "isn't elementwise"),
        (math.tanh, "can't take a NumPy array"),
    ],
)
def test_unusable_activations_are_refused_with_the_reason(function, reason):
    with pytest.raises(functions.UnusableActivation, match=reason):
        functions.as_activation(function)


def test_an_activation_is_taken_as_it_is():
    given_one = Activation("mine", dead, dead, peak=1.0)
    assert functions.as_activation(given_one) is given_one
