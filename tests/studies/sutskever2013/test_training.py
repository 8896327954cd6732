"""Autoencoders trained by every method, and what is measured of them."""

import numpy as np
import pytest
import torch

from undertow.lab import digits
from undertow.studies.sutskever2013.config import METHODS, autoencoder
from undertow.studies.sutskever2013.training import initial_gains, moved, squared_error


def test_every_method_starts_from_the_same_weights(results):
    starts = [np.array(found["error"])[:, 0] for found in results["methods"].values()]
    assert all((start == starts[0]).all() for start in starts)
    assert starts[0][0] != starts[0][1]
    assert all((np.array(found["moved"])[:, 0] == 0).all() for found in results["methods"].values())


def test_the_learning_rate_kept_is_the_best_of_those_tried(results):
    for name, found in results["methods"].items():
        means = {eta: np.mean(errors) for eta, errors in found["tried"].items()}
        assert set(means) == {f"{eta:g}" for eta in METHODS[name].etas[: results["amount"]["rates"]]}
        assert f"{found['eta']:g}" == min(means, key=means.get)
        assert np.array(found["error"])[:, -1] == pytest.approx(found["tried"][f"{found['eta']:g}"])


def test_gains_and_errors_are_autograds():
    nets = autoencoder(digits(), (20, 18, 16), members=2, seed=3)
    x = digits().train.x[:20]
    gains = initial_gains(nets, x)
    for i in range(2):
        net = nets.member(i)
        zs, a = [], x
        for layer, activation in zip(net.layers, net.activations, strict=True):
            zs.append(layer(a))
            zs[-1].retain_grad()
            a = activation(zs[-1])
        loss = (a - x).square().sum()
        loss.backward()
        sizes = np.array([z.grad.norm().item() for z in zs])
        np.testing.assert_allclose(gains[i], sizes[:-1] / sizes[1:], rtol=1e-4)
        assert squared_error(nets, x)[i] == pytest.approx(loss.item() / len(x), rel=1e-5)


def test_how_far_weights_have_moved():
    nets = autoencoder(digits(), (20, 16), members=2, seed=0)
    start = [layer.copy() for layer in nets.layers]
    nets.layers[1].w.mul_(torch.tensor([1.5, 0.0])[:, None, None])
    np.testing.assert_allclose(moved(nets, start), [[0, 0.5, 0, 0], [0, 1, 0, 0]], rtol=1e-6)
