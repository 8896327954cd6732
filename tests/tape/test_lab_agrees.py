"""What the tape reads of a network is what the lab's own backpropagation says of it (law 2)."""

import numpy as np
import pytest
import torch

from undertow.examination import examine
from undertow.lab import Ensemble
from undertow.record import Role


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("cost", ["cross-entropy", "quadratic"])
def test_learning_speeds(activation, cost):
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 12)), rng.integers(0, 4, 40)
    nets = Ensemble([12, 9, 8, 7, 4], members=3, seed=1, dtype=torch.float64, activation=activation, cost=cost)
    by_hand = nets.learning_speed(x, y)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for i in range(3):
        network = nets.member(i)
        run = examine(network, lambda network=network: network.loss(inputs, labels)).run
        layers = [site.index for site in run.sites if site.role is Role.WEIGHT]
        taped = run.column("learning_speed")[layers[::-1]]
        np.testing.assert_allclose(taped[: by_hand.shape[1]], np.asarray(by_hand[i]), rtol=1e-10)
