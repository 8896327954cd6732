"""Fixed points of the variance: found where iteration settles, refused where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.theory import fixedpoint, meanfield
from undertow.theory.meanfield import NoFixedPoint

SQUASHING = ["sigmoid", "tanh", "erf", "softsign"]


weight_vars, bias_vars = st.floats(0, 20), st.floats(0, 5)


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(SQUASHING), weight_vars, bias_vars, st.floats(0.01, 100))
def test_q_star_is_where_iteration_settles(name, weight_var, bias_var, q0):
    found = meanfield.q_star(name, weight_var, bias_var, q0=q0)
    q = q0
    for _ in range(300):
        q = weight_var * float(fixedpoint.value_moment(name, q)) + bias_var
    if meanfield.xi_q(name, weight_var, bias_var, q0=q0) < 10:
        assert found == pytest.approx(q, rel=1e-9, abs=1e-12)
    assert weight_var * fixedpoint.value_moment(name, found) + bias_var == pytest.approx(found, rel=1e-12, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 1.99), st.floats(0, 5))
def test_relu_has_a_closed_form(weight_var, bias_var):
    q = meanfield.q_star("relu", weight_var, bias_var)
    assert q == pytest.approx(bias_var / (1 - weight_var / 2), rel=1e-10, abs=1e-12)
    assert meanfield.chi("relu", weight_var, bias_var) == pytest.approx(weight_var / 2, rel=1e-12)


def test_at_relus_critical_point_every_variance_stays():
    assert meanfield.q_star("relu", 2.0, 0.0, q0=7.0) == 7.0
    assert meanfield.phase("relu", 2.0) == "critical"


def test_the_start_decides_between_several_fixed_points():
    q = meanfield.half_stable("gelu")
    weight_var, bias_var = (float(each) for each in meanfield.critical_line("gelu", q))
    below = meanfield.q_star("gelu", weight_var, bias_var + 1e-6, q0=1.0)
    above = meanfield.q_star("gelu", weight_var, bias_var + 1e-6, q0=10.0)
    assert below < q < above  # two roots a step of the grid apart: neither may be jumped over
    assert meanfield.chi("gelu", weight_var, bias_var + 1e-6, q0=10.0) > 1 > meanfield.chi("gelu", weight_var, bias_var)
    # once the upper pair is gone, both starts end below
    assert meanfield.q_star("gelu", weight_var, bias_var - 1e-6, q0=10.0) == pytest.approx(below, rel=0.05)


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var"),
    [
        ("relu", 2.1, 0.0),
        ("relu", 2.0, 0.1),
        ("gelu", 3.0, 0.1),
        ("silu", 4.0, 0.0),
        ("linear", 1.1, 0.0),
        ("elu", 3.0, 0.1),
    ],
)
def test_no_fixed_point_is_said_not_sought_for_ever(name, weight_var, bias_var):
    for function in (meanfield.q_star, meanfield.chi, meanfield.phase, meanfield.c_star, meanfield.xi_c):
        with pytest.raises(NoFixedPoint, match="grows without bound"):
            function(name, weight_var, bias_var)
    assert meanfield.chi(name, weight_var, bias_var, q=1.0) > 0


def test_functions_that_overflow_have_no_fixed_point():
    with pytest.raises(NoFixedPoint):
        meanfield.q_star(np.exp, 1.0, 0.0)
    with pytest.raises(ValueError, match="grows too fast"):
        meanfield.chi(np.exp, 1.0, q=1e9)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
def test_where_the_variance_falls_with_q_it_still_settles(sharpness):
    bump = meanfield.from_function(lambda z: np.exp(-np.square(sharpness * np.asarray(z))))
    q = 1.0
    for _ in range(100):
        q = 5 * float(fixedpoint.value_moment(bump, q))
    assert meanfield.q_star(bump, 5.0, 0.0) == pytest.approx(q, rel=1e-10)
    assert -0.5 <= 5 * fixedpoint.value_moment_slope(bump, q) < 0
