"""Products of chains drawn at random."""

import numpy as np
import pytest
from scipy import stats

from undertow.theory import drawn, logproduct


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign", "erf"])
def test_drawn_products_have_the_integrated_median_s_neighbourhood(name):
    depth = 6
    found, integrated = drawn.drawn_products(depth, name), logproduct.log_product(depth, name)
    assert found.zero.max() == 0
    # skewed to the left: the median lies above the mean, by less than a third of the spread
    above = (found.quantiles[:, 1] - integrated.mean) / integrated.std
    assert (above > 0).all()
    assert above.max() < 0.35


def test_a_relu_chain_is_cut_with_probability_one_half_a_neuron():
    found = drawn.drawn_products(8, "relu", chains=40_000)
    np.testing.assert_allclose(found.zero, 1 - 0.5 ** np.arange(1, 9), atol=4 * 0.5 / 200)


def test_a_linear_chain_s_product_is_that_of_its_weights():
    found = drawn.drawn_products(1, "linear", chains=40_000)
    np.testing.assert_allclose(found.quantiles[0], np.log(stats.halfnorm.ppf([0.05, 0.5, 0.95])), atol=0.06)


def test_products_of_zero_weights_are_all_zero():
    found = drawn.drawn_products(2, "relu", weight_std=0.0, chains=50)
    assert found.zero.tolist() == [1, 1]
    assert np.isneginf(found.quantiles).all()


@pytest.mark.parametrize("bad", [{"depth": 0}, {"depth": 2, "chains": 0}, {"depth": 2, "weight_std": -1.0},
                                 {"depth": 2, "bias_std": float("nan")}])  # fmt: skip
def test_chains_that_cannot_be_drawn_are_refused(bad):
    with pytest.raises(ValueError, match=r"at least one|must be finite"):
        drawn.drawn_products(**bad)
