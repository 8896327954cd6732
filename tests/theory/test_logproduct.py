"""The integrated distribution of a chain's product, held to simulated chains."""

import numpy as np
import pytest
from scipy import stats

from undertow.activations import activation
from undertow.theory import chain, logproduct


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign"])
def test_log_product_equals_simulated_chains(name):
    depth, n = 5, 20_000
    rng = np.random.default_rng(1)
    w, b, a0 = rng.standard_normal((depth, n)), rng.standard_normal((depth, n)), rng.random(n)
    z = chain.forward(w, b, a0, name).z
    logs = np.cumsum(np.log(np.abs(w)) + np.log(activation(name).derivative(z)), axis=0)
    found = logproduct.log_product(depth, name)
    np.testing.assert_allclose(found.mean, logs.mean(axis=1), atol=5 * logs.std(axis=1).max() / np.sqrt(n))
    np.testing.assert_allclose(found.std, logs.std(axis=1), rtol=0.03)


def test_log_product_of_one_factor_is_two_plain_integrals():
    euler = 0.5772156649015329
    z = np.linspace(-14, 14, 2001)
    a, weight = np.polynomial.legendre.leggauss(20)
    slopes = [
        np.trapezoid(stats.norm.pdf(z, scale=np.hypot(1, at)) * np.log(activation("sigmoid").derivative(z)), z)
        for at in (a + 1) / 2
    ]
    expected = -(euler + np.log(2)) / 2 + weight @ slopes / 2  # E ln|w| + E ln σ'(z)
    assert logproduct.log_product(1).mean[0] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("name", ["relu", "gelu", "linear"])
def test_log_product_refuses_activations_that_it_does_not_cover(name):
    with pytest.raises(ValueError, match="bounded, increasing"):
        logproduct.log_product(3, name)
