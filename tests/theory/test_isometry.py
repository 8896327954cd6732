"""The spectrum of a random network's Jacobian, held to random networks."""

import numpy as np
import pytest

from undertow.theory import isometry, meanfield
from undertow.theory.functions import as_activation
from undertow.theory.simulation import draw


def measured_spectrum(name, weight_var, bias_var, depth, weights, n=200):
    rng, phi = np.random.default_rng(0), as_activation(name)
    q = meanfield.q_star(name, weight_var, bias_var)
    a, product = np.asarray(phi.value(np.sqrt(q) * rng.standard_normal(n))), np.eye(n)
    for _ in range(depth):
        w = draw(rng, n, n, weight_var, weights)
        z = w @ a + np.sqrt(bias_var) * rng.standard_normal(n)
        product, a = (phi.derivative(z)[:, None] * w) @ product, np.asarray(phi.value(z))
    return np.linalg.svd(product, compute_uv=False) ** 2


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var"), [("tanh", 1.1, 0.0), ("sigmoid", 1.0, 1.0), ("erf", 1.5, 0.1)]
)
def test_mean_variance_and_edge_of_the_jacobians_spectrum(name, weight_var, bias_var, weights):
    found = isometry.jacobian_spectrum(name, weight_var, bias_var, depth=5, weights=weights)
    squares = measured_spectrum(name, weight_var, bias_var, 5, weights)
    assert squares.mean() == pytest.approx(found.mean, rel=0.15)
    assert squares.var() / squares.mean() ** 2 == pytest.approx(found.variance / found.mean**2, rel=0.2)
    assert squares.max() / squares.mean() == pytest.approx(found.largest / found.mean, rel=0.25)


def test_linear_networks_have_the_known_upper_edge():
    # Penson & Życzkowski 2011: products of Gaussian matrices, (L + 1)^(L + 1) / L^L
    for depth in (1, 2, 10, 40):
        edge = isometry.jacobian_spectrum("linear", 1.0, depth=depth).largest
        assert edge == pytest.approx((depth + 1.0) ** (depth + 1) / depth**depth, rel=1e-8)


def test_only_orthogonal_networks_approach_isometry():
    # Pennington et al. 2017: critical tanh networks; ReLU's variance stays, whatever the weights
    q = 1e-3
    weight_var, bias_var = (float(each) for each in meanfield.critical_line("tanh", q))
    orthogonal = isometry.jacobian_spectrum("tanh", weight_var, bias_var, depth=50, weights="orthogonal")
    gaussian = isometry.jacobian_spectrum("tanh", weight_var, bias_var, depth=50)
    assert orthogonal.variance < 1e-3 < 50 < gaussian.variance
    assert isometry.jacobian_spectrum("relu", 2.0, depth=50, weights="orthogonal").variance == pytest.approx(50)
    assert isometry.jacobian_spectrum("relu", 2.0, depth=50).variance == pytest.approx(100)
