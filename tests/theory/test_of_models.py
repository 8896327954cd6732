"""Eq. 124 of the lab's networks and of a tape: what carries the gradient, and how the gradient lies."""

import numpy as np
import pytest
import torch
from torch import nn

from undertow.lab import Ensemble
from undertow.measure import Meter
from undertow.record import Role
from undertow.tape import Tape
from undertow.theory import product
from undertow.theory.propagation import Layer, propagate


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
def test_the_lab_s_own_backpropagation_is_the_product(activation):
    nets = Ensemble([7, 9, 8, 6, 4], members=3, seed=1, dtype=torch.float64, activation=activation, cost="quadratic")
    rng = np.random.default_rng(0)
    x, y = rng.random((5, 7)), rng.integers(0, 4, 5)
    passes = list(nets.backpropagate(*nets.examples(torch.from_numpy(x), torch.from_numpy(y))))
    for member in range(3):
        weights = [layer.w[member].numpy() for layer in nets.layers]
        z = [at.z[member].numpy() for at in passes]
        # the last layer's delta is taken over, as its activation is the cost's affair
        last = passes[-1].delta[member].numpy()
        kinds = [*[activation] * 3, "linear"]
        for found, at in zip(product.deltas(weights, z, last, kinds), passes, strict=True):
            np.testing.assert_allclose(found, at.delta[member].numpy(), rtol=1e-12, atol=1e-15)


def test_a_tape_s_factors_multiply_to_what_autograd_passes_on():
    torch.manual_seed(0)
    net = nn.Sequential(*[m for _ in range(4) for m in (nn.Linear(8, 8), nn.Tanh())], nn.Linear(8, 3)).double()
    x, factors, received = torch.randn(1, 8, dtype=torch.float64), [], {}

    def keep(signal, _meter):
        site = tape.sites[signal.site]
        received[signal.site] = signal.received[0].numpy().ravel().copy()
        if site.role is Role.ACTIVATION:
            factors.insert(0, signal.derivative.numpy().ravel().copy())
        elif site.role is Role.WEIGHT and signal.passed is not None:
            factors.insert(0, signal.weight.numpy().T.copy())

    with Tape(net, Meter(), keep) as tape:
        loss = net(x).square().sum()
        tape.attach(loss)
        loss.backward()
    layers = [site.index for site in tape.sites if site.role is Role.WEIGHT]
    carried = product.product_svd(factors)
    found = carried.left @ (10.0**carried.log10 * (carried.right.T @ received[layers[0]]))
    np.testing.assert_allclose(found, received[layers[-1]], rtol=1e-10, atol=1e-16)
    lies = product.alignment(carried, received[layers[0]])
    gain = np.linalg.norm(received[layers[-1]]) / np.linalg.norm(received[layers[0]])
    assert lies.gain == pytest.approx(gain, rel=1e-10)


def test_the_spread_over_networks_is_that_of_the_lab_s_ensembles():
    """Sum of 1/width, on networks that this theory had no part in drawing."""
    widths, members = [100, 60, 120, 80], 300
    sizes = [100, *widths, 10]
    nets = Ensemble(sizes, members, seed=3, dtype=torch.float64, activation="relu", initializer="he", cost="quadratic")
    x = np.random.default_rng(0).standard_normal((1, 100))
    x *= 10 / np.linalg.norm(x)
    passes = list(nets.backpropagate(*nets.examples(torch.from_numpy(x), torch.tensor([3]))))
    norms = np.array([at.delta.norm(dim=(1, 2)).numpy() for at in passes])
    logs = np.log10(norms[0] / norms[3])
    found = propagate([Layer("relu", 2.0, width=n) for n in widths])
    assert (2 * np.log(10) * found.spread[0]) ** 2 == pytest.approx(5 * (1 / 100 + 1 / 60 + 1 / 120), rel=1e-9)
    assert logs.std(ddof=1) == pytest.approx(found.spread[0], rel=0.17)  # 300 networks measure it to 4 %
    assert logs.mean() == pytest.approx(found.typical[0], abs=4 * found.spread[0] / np.sqrt(members))
