"""Gradients and Jacobians that are looked at, against autograd's."""

import numpy as np
import pytest
import torch

from undertow.lab import Ensemble
from undertow.studies.glorot2010.looking import JACOBIANS, jacobian_singular_values, measures


def test_the_weight_gradients_measured_are_autograds():
    nets = Ensemble([6, 5, 5, 3], members=2, activation="tanh", cost="log-likelihood", dtype=torch.float64)
    x, y = torch.rand(4, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    found = measures(nets, x, y)["weight_gradient"]
    for i in range(2):
        net = nets.member(i)
        squares = []
        for k in range(4):
            net.zero_grad()
            net.loss(x[k : k + 1], y[k : k + 1]).backward()
            squares.append([layer.weight.grad.square().mean().item() for layer in net.layers[:-1]])
        np.testing.assert_allclose(found[i], np.sqrt(np.mean(squares, 0)), rtol=1e-9)


def test_the_jacobians_are_autograds():
    nets = Ensemble([6, 5, 5, 3], members=1, activation="softsign", cost="log-likelihood", dtype=torch.float64)
    x = torch.rand(JACOBIANS, 6, dtype=torch.float64)
    signals = nets.feedforward(x)
    net = nets.member(0)
    for k in range(JACOBIANS):
        z = signals[0].z[0, k].clone()
        jacobian = torch.autograd.functional.jacobian(lambda z: net.layers[1](net.activations[0](z)), z)
        expected = torch.linalg.svdvals(jacobian)
        torch.testing.assert_close(jacobian_singular_values(nets, 0, signals[0])[0, k], expected)


@pytest.mark.parametrize(("activation", "same"), [("tanh", True), ("sigmoid", True), ("softsign", False)])
def test_the_end_of_the_range_is_where_the_slope_has_fallen_to_a_tenth_but_for_softsign(activation, same):
    nets = Ensemble([6, 200, 200, 3], activation=activation, cost="log-likelihood", initializer="large")
    found = measures(nets, torch.rand(50, 6), torch.zeros(50, dtype=torch.int64))
    assert 0.1 < found["saturated"][0, 1] < 1
    assert (abs(found["ended"] - found["saturated"]).max() < 0.01) == same
