"""Fixed points, phases and depth scales, held to published values, closed forms and plain iteration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.theory import correlation, fixedpoint, meanfield
from undertow.theory.meanfield import NoFixedPoint

SQUASHING = ["sigmoid", "tanh", "erf", "softsign"]


# --- critical points -----------------------------------------------------------------------------------------------
# tanh: Pennington et al. 2017 and Schoenholz et al. 2017 (σ_w = 1 at σ_b = 0); erf: σ_w² E[φ'(0)²] = 1; the others
# were computed with an independent implementation.


@pytest.mark.parametrize(
    ("name", "q", "weight_var", "bias_var", "digits"),
    [
        ("tanh", 0.0, 1.0, 0.0, 1e-12),
        ("tanh", 0.5, 1.688, 0.0380, 5e-4),
        ("tanh", 1.0, 2.153, 0.151, 5e-4),
        ("erf", 0.0, np.pi / 4, 0.0, 1e-12),
        ("relu", 0.3, 2.0, 0.0, 1e-12),
        ("relu", 30.0, 2.0, 0.0, 1e-12),
        ("gelu", 0.0, 4.0, 0.0, 1e-12),
        ("gelu", 3.5616, 1.98306, 0.17292, 5e-6),
        ("silu", 14.3202, 1.98800, 0.55514, 6e-6),
    ],
)
def test_critical_points(name, q, weight_var, bias_var, digits):
    found = meanfield.critical_line(name, q)
    assert float(found[0]) == pytest.approx(weight_var, abs=digits)
    assert float(found[1]) == pytest.approx(bias_var, abs=digits)
    assert weight_var * fixedpoint.value_moment(name, q) + bias_var == pytest.approx(q, abs=6 * digits * max(q, 1))


@pytest.mark.parametrize(("name", "q"), [("gelu", 3.5616), ("silu", 14.3202)])
def test_half_stable_points(name, q):
    found = meanfield.half_stable(name)
    assert found == pytest.approx(q, abs=5e-5)
    weight_var, _ = meanfield.critical_line(name, found)
    assert weight_var * fixedpoint.value_moment_slope(name, found) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", ["tanh", "erf", "relu", "sigmoid"])
def test_no_half_stable_point_elsewhere(name):
    assert meanfield.half_stable(name) is None


def test_the_sigmoid_has_no_critical_point_below_q_45():
    weight_var, bias_var = meanfield.critical_line("sigmoid", np.linspace(0, 45, 200))
    assert np.isnan(weight_var).all()
    assert np.isnan(bias_var).all()
    weight_var, bias_var = meanfield.critical_line("sigmoid", 45.63)
    assert np.sqrt(weight_var) == pytest.approx(10.15, abs=5e-3)
    assert float(bias_var) == pytest.approx(0.0, abs=2e-2)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["tanh", "erf"]), st.floats(0.01, 20))
def test_on_the_critical_line_chi_is_one_at_the_q_asked_for(name, q):
    weight_var, bias_var = (float(each) for each in meanfield.critical_line(name, q))
    assert meanfield.q_star(name, weight_var, bias_var) == pytest.approx(q, rel=1e-6)
    assert meanfield.chi(name, weight_var, bias_var) == pytest.approx(1, abs=1e-7)
    assert meanfield.phase(name, weight_var, bias_var) == "critical"


@pytest.mark.parametrize(("weight_var", "bias_var", "chi"), [(1.0, 0.0, 0.056), (2.0, 0.0, 0.101), (1.0, 1.0, 0.0420)])
def test_sigmoid_chi_under_the_usual_initializers(weight_var, bias_var, chi):
    assert meanfield.chi("sigmoid", weight_var, bias_var) == pytest.approx(chi, abs=5e-4 if bias_var == 0 else 5e-5)


def test_the_chapters_networks_slow_down_4_88_fold_a_layer():
    assert 1 / meanfield.layer_gain("sigmoid", 1.0, 1.0) == pytest.approx(4.88, abs=5e-3)


@pytest.mark.parametrize(("name", "factor"), [("sigmoid", 0.141), ("gelu", 0.289), ("relu", 0.408), ("tanh", 0.577)])
def test_norm_factors_at_torchs_default_init(name, factor):
    assert meanfield.layer_gain(name, *meanfield.INITIALIZERS["standard"]) == pytest.approx(factor, abs=5e-4)


# Sutskever et al. 2013: sparse initialisation with 15 inputs of N(0, s²), sigmoid: σ_w² = 15 s².
@pytest.mark.parametrize(("scale", "factor"), [(0.25, 0.23), (0.5, 0.40), (1, 0.62), (2, 0.88), (4, 1.23)])
def test_norm_factors_of_sutskevers_scales(scale, factor):
    assert meanfield.layer_gain("sigmoid", 15 * scale**2) == pytest.approx(factor, abs=6e-3)


def test_selu_normalises_itself():
    # Klambauer et al. 2017: mean 0 and variance 1 are a fixed point for σ_w² = 1, and attract
    assert meanfield.q_star("selu", 1.0, 0.0, q0=5.0) == pytest.approx(1.0, abs=1e-12)
    assert float(fixedpoint.value_moment("selu", 1.0)) == pytest.approx(1.0, abs=1e-12)


# --- fixed points ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_variances_that_are_none_are_refused(bad):
    for call in (
        lambda: meanfield.chi("tanh", bad),
        lambda: meanfield.q_star("tanh", 1.0, bad),
        lambda: meanfield.chi("tanh", 1.0, q=bad),
        lambda: meanfield.phase_diagram("tanh", [1.0, bad], 0.0),
        lambda: correlation.value_covariance("tanh", bad, 0.5),
    ):
        with pytest.raises(ValueError, match="finite number >= 0"):
            call()


def test_unknown_names_are_answered_with_the_list():
    with pytest.raises(ValueError, match="there are: sigmoid, tanh"):
        meanfield.chi("tahn", 1.0)


# --- correlations ----------------------------------------------------------------------------------------------------


def test_dropout_keeps_inputs_apart_and_destroys_criticality():
    # Schoenholz et al. 2017: with dropout no initialisation has an infinite ξ_c
    weight_var, bias_var = (float(each) for each in meanfield.critical_line("tanh", 0.5))
    assert meanfield.xi_c("tanh", weight_var, bias_var) > 1e5
    for keep in (0.99, 0.9, 0.5):
        assert meanfield.c_star("tanh", weight_var, bias_var, keep=keep) < 1
        assert meanfield.xi_c("tanh", weight_var, bias_var, keep=keep) < 50
    assert meanfield.chi("relu", 1.6, keep=0.8) == pytest.approx(1.0)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1])
def test_keep_probabilities_outside_0_1_are_refused(keep):
    with pytest.raises(ValueError, match="probability of keeping"):
        meanfield.chi("tanh", 1.0, keep=keep)


def test_xi_q_is_the_measured_rate_of_approach():
    weight_var, bias_var = 3.0, 0.2
    star = meanfield.q_star("tanh", weight_var, bias_var)
    gaps, q = [], star + 1e-4
    for _ in range(4):
        gaps.append(q - star)
        q = weight_var * float(fixedpoint.value_moment("tanh", q)) + bias_var
    assert -1 / np.log(gaps[3] / gaps[2]) == pytest.approx(meanfield.xi_q("tanh", weight_var, bias_var), rel=1e-3)


def test_depth_scales_at_the_edges():
    assert meanfield.xi_grad("tanh", 0.0) == 0.0
    assert meanfield.xi_grad("tanh", 1.0) == np.inf
    assert meanfield.xi_grad("tanh", 2.0) < 0  # it grows
    assert meanfield.trainable_depth("tanh", 1.5, 0.05) == pytest.approx(6 * meanfield.xi_c("tanh", 1.5, 0.05))


def test_phase_and_chi_agree():
    for weight_var in np.linspace(0.5, 3, 11):
        chi = meanfield.chi("tanh", weight_var, 0.05)
        assert meanfield.phase("tanh", weight_var, 0.05) == ("ordered" if chi < 1 else "chaotic")


# --- phase diagrams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "sigmoid"])
def test_phase_diagram_equals_point_by_point(name):
    weight_var, bias_var = np.linspace(0, 4, 7), np.linspace(0, 2, 5)[:, None]
    diagram = meanfield.phase_diagram(name, weight_var, bias_var)
    assert diagram.q.shape == diagram.chi.shape == (5, 7)
    for (i, j), q in np.ndenumerate(diagram.q):
        point = float(weight_var[j]), float(bias_var[i, 0])
        if np.isinf(q):
            with pytest.raises(NoFixedPoint):
                meanfield.q_star(name, *point)
        else:
            assert meanfield.q_star(name, *point) == pytest.approx(q, rel=1e-10, abs=1e-14)
            assert meanfield.chi(name, *point) == pytest.approx(diagram.chi[i, j], rel=1e-10)


def test_beyond_relus_critical_weight_the_diagram_tells_the_limit():
    diagram = meanfield.phase_diagram("gelu", [3.0], [0.1])
    assert np.isinf(diagram.q[0])
    assert diagram.chi[0] == pytest.approx(1.5, rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(SQUASHING), st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 2))
def test_chi_grows_with_the_weights_along_a_line_of_constant_q(name, one, other, q):
    # not true at fixed bias_var, but at fixed q
    low, high = sorted((one, other))
    assert meanfield.chi(name, low, q=q) <= meanfield.chi(name, high, q=q)
