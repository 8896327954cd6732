"""How alike two inputs stay: pair averages and the fixed point of the correlation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.theory import correlation, meanfield


@settings(deadline=None, max_examples=60)
@given(st.floats(0.01, 100), st.floats(-1, 1))
def test_pair_averages_have_the_known_closed_forms(q, c):
    # Cho & Saul 2009 (arc-cosine kernels) and Williams 1997
    angle = np.arccos(c)
    relu = q / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * c)
    assert correlation.value_covariance("relu", q, c) == pytest.approx(relu, abs=1e-12 * q)
    assert correlation.slope_covariance("relu", q, c) == pytest.approx((np.pi - angle) / (2 * np.pi), abs=1e-7)
    erf = 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))
    assert correlation.value_covariance("erf", q, c) == pytest.approx(erf, abs=1e-12)


def test_pair_averages_are_right_where_two_kinks_cross():
    def hard_tanh(z):
        return np.clip(z, -1, 1)

    rng = np.random.default_rng(0)
    u = rng.standard_normal((2, 500_000))
    pair = np.sqrt(2.0) * np.stack([u[0], 0.7 * u[0] + np.sqrt(1 - 0.49) * u[1]])
    assert correlation.value_covariance(hard_tanh, 2.0, 0.7) == pytest.approx(
        np.prod(hard_tanh(pair), 0).mean(), abs=5e-3
    )
    both_inside = (np.abs(pair) < 1).all(axis=0).mean()
    assert correlation.slope_covariance(hard_tanh, 2.0, 0.7) == pytest.approx(both_inside, abs=5e-3)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(["tanh", "erf", "sigmoid"]), st.floats(0.1, 200), st.floats(0, 2))
def test_c_star_is_a_stable_fixed_point(name, weight_var, bias_var):
    q, c = meanfield.q_star(name, weight_var, bias_var), meanfield.c_star(name, weight_var, bias_var)
    chi = meanfield.chi(name, weight_var, bias_var)
    if chi > 1 + 1e-5:
        assert 0 <= c < 1
        assert meanfield.c_map(name, weight_var, bias_var, c, q=q) == pytest.approx(c, abs=1e-9)
        assert weight_var * correlation.slope_covariance(name, q, c) < 1
    elif chi < 1 - 1e-5:
        assert c == 1
        assert meanfield.xi_c(name, weight_var, bias_var) == pytest.approx(
            meanfield.xi_grad(name, weight_var, bias_var)
        )


def test_c_star_is_where_the_map_settles():
    q, c = meanfield.q_star("tanh", 4.0, 0.3), 0.99
    for _ in range(200):
        c = meanfield.c_map("tanh", 4.0, 0.3, c, q=q)
    assert meanfield.c_star("tanh", 4.0, 0.3) == pytest.approx(c, abs=1e-9)


def test_odd_activations_without_bias_forget_everything_in_the_chaotic_phase():
    assert meanfield.c_star("tanh", 2.0, 0.0) == pytest.approx(0.0, abs=1e-12)
