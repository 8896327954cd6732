"""How large a factor can be, how often; the construction that explodes; the product's distribution over depth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from undertow.activations import ACTIVATIONS, activation
from undertow.theory import bounds


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(0)
    return rng.standard_normal(400_000), rng.standard_normal(400_000), rng.random(400_000)


def test_sigmoid_is_steepest_at_zero_at_a_quarter():
    assert bounds.steepest("sigmoid") == (0.0, 0.25)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_peak_of_every_activation_is_where_it_is_steepest(name):
    z, slope = bounds.steepest(name)
    assert slope == pytest.approx(ACTIVATIONS[name].peak, rel=1e-9)
    assert abs(float(activation(name).derivative(z))) == pytest.approx(slope, rel=1e-12)


# The chapter's claim about |w σ'(z)| < 1/4 for w, b ~ N(0, 1), a ~ U(0, 1): 10^7 sampled triples gave .81502 and
# 5.5 in a million at or above 1 (standard errors .00012 and .7 in a million).
def test_the_share_of_factors_below_a_quarter_is_81_5_percent():
    assert bounds.probability_below(0.25) == pytest.approx(0.815, abs=5e-4)
    assert 1 - bounds.probability_below(1.0) == pytest.approx(6e-6, abs=5e-7)


def test_the_share_of_weights_below_one_is_68_3_percent():
    assert bounds.probability_below(1.0, "linear") == pytest.approx(2 * stats.norm.cdf(1) - 1, abs=1e-11)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("threshold", [0.25, 1.0])
def test_probabilities_equal_sampled_frequencies(name, threshold, sample):
    w, b, a = sample
    frequency = (np.abs(w * activation(name).derivative(w * a + b)) < threshold).mean()
    assert bounds.probability_below(threshold, name) == pytest.approx(frequency, abs=4e-3)


def test_probability_is_one_where_no_weight_within_reach_suffices():
    assert bounds.probability_below(1.0, weight_std=0.1) == 1.0


@settings(deadline=None, max_examples=50)
@given(st.floats(4.001, 1000), st.sampled_from([-1, 1]), st.floats(-10, 10))
def test_sigmoid_interval_has_the_books_width_and_the_factor_is_one_at_its_ends(size, sign, b):
    w = sign * size
    found = bounds.large_factor_interval(w, b)
    assert found.width == pytest.approx(bounds.sigmoid_interval_width(w), rel=1e-6, abs=1e-12)
    for a in (found.low, found.high):
        assert abs(w * activation("sigmoid").derivative(w * a + b)) == pytest.approx(1, rel=1e-6)


def test_the_widest_sigmoid_interval():
    # The book's problem: |w| about 6.9, width about 0.45; to more digits by maximising the closed form.
    best = optimize.minimize_scalar(
        lambda w: -bounds.sigmoid_interval_width(w), bounds=(4, 20), method="bounded", options={"xatol": 1e-10}
    )
    assert best.x == pytest.approx(6.89415, abs=5e-5)
    assert -best.fun == pytest.approx(0.447743, abs=5e-7)
    w, width = bounds.widest_interval("sigmoid")
    assert w == pytest.approx(best.x, abs=1e-4)
    assert width == pytest.approx(-best.fun, abs=1e-10)
    assert bounds.sigmoid_interval_width(100) == pytest.approx(0.0917, abs=5e-5)


def test_closed_forms_of_the_widest_interval_of_other_activations():
    # softsign: 2 (√w - 1) / w, widest at w = 4; tanh: (2/w) arcosh √w
    w, width = bounds.widest_interval("softsign")
    assert (w, width) == (pytest.approx(4, abs=1e-3), pytest.approx(0.5, abs=1e-9))
    w, width = bounds.widest_interval("tanh")
    assert width == pytest.approx(2 / w * np.arccosh(np.sqrt(w)), rel=1e-9)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "silu", "softplus", "elu", "selu", "linear"])
def test_activations_that_do_not_flatten_have_intervals_without_end(name):
    w, width = bounds.widest_interval(name)
    assert np.isinf(width)
    assert w == pytest.approx(1 / (1.0507009873554805 if name == "selu" else 1.0), rel=1e-9)


def test_gelu_and_silu_exceed_one_only_on_a_finite_stretch():
    (found,) = bounds.superlevel("gelu", 1.05)
    z = np.linspace(found.low, found.high, 101)
    assert (activation("gelu").derivative(z) >= 1.05 - 1e-12).all()
    assert np.isfinite(found.width)


def test_levels_are_taken_of_the_size_of_the_slope():
    falling = bounds.superlevel(lambda z: -np.tanh(z), 0.5)
    rising = bounds.superlevel("tanh", 0.5)
    assert falling[0].high == pytest.approx(rising[0].high, rel=1e-6)


def test_a_level_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="positive"):
        bounds.superlevel("tanh", 0.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("w", "b"), [(1.3, 0.4), (-2.6, 1.1), (5.0, -2.0), (-30.0, 7.0)])
def test_the_window_of_every_activation_is_where_a_fine_grid_finds_it(name, w, b):
    a = np.linspace(-50, 50, 2_000_001) / abs(w)
    inside = np.abs(w * activation(name).derivative(w * a + b)) >= 1
    found = bounds.large_factor_interval(w, b, name)
    if found is None:
        assert not inside.any()
        return
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    starts, ends = edges[::2], edges[1::2] - 1
    widest = (a[ends] - a[starts]).argmax()
    step = a[1] - a[0]
    for end, at, open_end in ((found.low, starts[widest], 0), (found.high, ends[widest], len(a) - 1)):
        if np.isinf(end):
            assert at == open_end
        else:
            assert end == pytest.approx(a[at], abs=1.01 * step)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_widest_window_of_every_activation_is_wider_than_any_of_a_scan(name):
    w, width = bounds.widest_interval(name)
    scanned = [bounds.large_factor_interval(size, 0.0, name) for size in np.geomspace(0.5, 300, 60)]
    assert width >= max(found.width for found in scanned if found) - 1e-9
    assert bounds.large_factor_interval(w * (1 + 1e-9), 0.3, name).width == pytest.approx(width, rel=1e-6)
