"""Averages over a Gaussian, at kinks and elsewhere, and activations given as plain functions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from undertow.activations import ACTIVATIONS
from undertow.theory import quadrature
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
