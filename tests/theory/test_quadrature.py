"""Averages over a Gaussian, at kinks and elsewhere, and activations given as plain functions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from undertow.activations import ACTIVATIONS, Activation
from undertow.theory import functions, quadrature
from undertow.theory.fixedpoint import slope_moment, value_moment, value_moment_slope

variances = st.floats(1e-6, 1e6)


@settings(deadline=None)
@given(variances)
def test_even_moments(q):
    assert float(quadrature.expect(lambda z: z**2, q)) == pytest.approx(q, rel=1e-12)
    assert float(quadrature.expect(lambda z: z**4, q)) == pytest.approx(3 * q**2, rel=1e-12)


@settings(deadline=None)
@given(variances, st.floats(-20, 20))
def test_a_step_anywhere_is_averaged_exactly_where_it_is_named(q, kink):
    found = float(quadrature.expect(lambda z: z > kink, q, (kink,)))
    assert found == pytest.approx(special.ndtr(-kink / np.sqrt(q)), abs=1e-13)


def test_gauss_hermite_with_odd_nodes_is_wrong_at_the_kink_and_ours_is_not():
    z, weight = np.polynomial.hermite_e.hermegauss(301)
    relu = ACTIVATIONS["relu"]
    assert weight @ relu.derivative(z) ** 2 / weight.sum() == pytest.approx(0.464, abs=1e-3)
    assert float(slope_moment("relu", 1.0)) == pytest.approx(0.5, abs=1e-15)


@settings(deadline=None)
@given(variances)
def test_closed_forms(q):
    assert float(value_moment("relu", q)) == pytest.approx(q / 2, rel=1e-13)
    assert float(value_moment("linear", q)) == pytest.approx(q, rel=1e-13)
    # Williams 1997, "Computing with infinite networks": E[erf²] = (2/π) arcsin(2q / (1 + 2q))
    assert float(value_moment("erf", q)) == pytest.approx(2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)), rel=1e-12)
    assert float(slope_moment("erf", q)) == pytest.approx(4 / np.pi / np.sqrt(1 + 4 * q), rel=1e-12)
    slope = 0.01**2
    assert float(slope_moment("leaky_relu", q)) == pytest.approx((1 + slope) / 2, rel=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("q", [0.01, 1.0, 30.0])
def test_slope_of_the_moment_is_its_derivative(name, q):
    h = 1e-4 * q
    numerical = (value_moment(name, q + h) - value_moment(name, q - h)) / (2 * h)
    assert float(value_moment_slope(name, q)) == pytest.approx(float(numerical), rel=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_equal_brute_force(name):
    z = np.linspace(-12, 12, 2_400_001) * np.sqrt(3.0)
    density = np.exp(-(z**2) / 6) / np.sqrt(6 * np.pi)
    expected = np.trapezoid(density * ACTIVATIONS[name].derivative(z) ** 2, z)
    assert float(slope_moment(name, 3.0)) == pytest.approx(expected, abs=1e-5)  # the grid, not ours, errs at kinks


def test_arrays_of_all_scales_equal_one_at_a_time():
    q = np.array([[1e-12, 1e3], [1e9, 0.5]])
    together = value_moment("tanh", q)
    assert together.shape == q.shape
    np.testing.assert_allclose(together, [[float(value_moment("tanh", each)) for each in row] for row in q], rtol=1e-12)


def test_functions_that_overflow_average_to_infinity_without_a_warning():
    assert np.isinf(quadrature.expect(np.exp, 1e10))


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
