"""The chain made to explode: how much it gains, and what noise does to it."""

import numpy as np
import pytest

from undertow.activations import ACTIVATIONS
from undertow.theory import bounds, chain, explosion


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "erf", "gelu"])
def test_the_explosive_chain_gains_the_weight_times_the_steepest_slope(name):
    weights, biases = explosion.explosive(6, weight=100.0, activation=name)
    speeds = np.abs(chain.gradients(weights, biases, activation=name))
    np.testing.assert_allclose(speeds[:-1] / speeds[1:], 100 * ACTIVATIONS[name].peak, rtol=1e-6)


def test_the_explosion_leaves_float32_at_the_28th_layer():
    weights, biases = explosion.explosive(30)
    speeds = chain.gradients(weights, biases)
    layers_back = speeds[::-1] / speeds[-1]
    assert layers_back[28] > np.finfo(np.float32).max > layers_back[27]


def test_the_explosion_does_not_survive_noise_on_the_biases():
    assert np.median(explosion.perturbed_gains(0.0)) == 25**3
    # one drawn median is 15; 10,000 chains give 13 to 15
    assert 12 < np.median(explosion.perturbed_gains(0.02)) < 16
    medians = [np.median(explosion.perturbed_gains(noise)) for noise in (0.001, 0.005, 0.01, 0.02, 0.05)]
    assert medians == sorted(medians, reverse=True)


@pytest.mark.parametrize("name", ["relu", "gelu", "silu", "leaky_relu", "elu", "softplus", "linear"])
def test_the_explosive_chain_of_unbounded_activations(name):
    weights, biases = explosion.explosive(5, weight=3.0, activation=name)
    z = chain.forward(weights, biases, 0.5, name).z
    np.testing.assert_allclose(z, bounds.steepest(name)[0], atol=1e-6)
