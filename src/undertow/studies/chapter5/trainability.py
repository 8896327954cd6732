"""Train ensembles over a grid of weight and bias variances, to lay over theory's map.

After Schoenholz et al. 2017, "Deep information propagation", figure 5, at the chapter's size.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertow.lab import Dataset, Ensemble
from undertow.studies.chapter5.config import BATCH_SIZE, NEURONS, Chapter5Config, Grid
from undertow.studies.experiments import Tick

Array = NDArray[np.float64]

ACTIVATIONS = ("tanh", "relu", "sigmoid")
DEPTH = 10
"""Hidden layers."""

EVALUATED = 1_000
"""Validation images on which accuracy is measured."""


def train_grid(data: Dataset, tick: Tick, /, *, activation: str, config: Chapter5Config, seed: int) -> Array:
    """Validation accuracy after training, [etas, bias variances, weight variances, members]; chance where lost."""
    grid = config.grid
    x, y = data.train.x[: grid.images], data.train.y[: grid.images]
    found = []
    for eta in grid.etas:
        nets = ensemble(data, activation, grid, seed)
        nets.train((x, y), grid.epochs, BATCH_SIZE, eta, on_epoch=lambda _epoch: tick(1))
        accuracy = nets.accuracy(data.validation.x[:EVALUATED], data.validation.y[:EVALUATED])
        found.append(accuracy.numpy().reshape(grid.shape))
    return np.stack(found)


def ensemble(data: Dataset, activation: str, grid: Grid, seed: int) -> Ensemble:
    """One ensemble for the whole grid: members of variance 1, scaled to their places in it (members run fastest).

    Example:
        >>> from undertow.lab import digits
        >>> nets = ensemble(digits(), "tanh", Grid((0.5, 2.0), (0.0, 1.0), members=50), seed=0)
        >>> w, b = nets.layers[1].w.reshape(2, 2, 50, 30, 30), nets.layers[1].b.reshape(2, 2, 50, 30)
        >>> (30 * w.var((0, 2, 3, 4))).round(decimals=1).tolist(), b.var((1, 2, 3)).round(decimals=1).tolist()
        ([0.5, 2.0], [0.0, 1.0])
    """
    bias_var, weight_var, _ = np.broadcast_arrays(
        np.array(grid.bias_var)[:, None, None], np.array(grid.weight_var)[None, :, None], np.empty(grid.shape)
    )
    sizes = [data.n_inputs, *[NEURONS] * DEPTH, data.n_classes]
    nets = Ensemble(sizes, bias_var.size, seed=seed, activation=activation, cost="log-likelihood")
    for layer in nets.layers:
        layer.w.mul_(_roots(weight_var))
        layer.b.mul_(_roots(bias_var))
    return nets


def _roots(variances: Array) -> torch.Tensor:
    return torch.from_numpy(np.sqrt(variances)).to(torch.float32).reshape(-1, 1, 1)


def result(found: dict[str, Array], grid: Grid) -> dict[str, Any]:
    """Return what results.json keeps: the grid, and the accuracies with each setting's best learning rate.

    Example:
        >>> kept = result({"tanh": np.zeros((2, 6, 12, 3))}, Grid())
        >>> np.shape(kept["accuracy"]["tanh"]), kept["etas"]
        ((6, 12, 3), (0.1, 0.01))
    """
    return {**vars(grid), "depth": DEPTH, "accuracy": {name: best(accuracy) for name, accuracy in found.items()}}


def best(accuracy: Array) -> Array:
    """Return the accuracies [..., members] with the learning rate whose mean is best, of [etas, ..., members].

    Example:
        >>> best(np.array([[[0.1, 0.3]], [[0.15, 0.2]]])).tolist()
        [[0.1, 0.3]]
    """
    chosen = accuracy.mean(-1).argmax(0)
    return np.take_along_axis(accuracy, chosen[None, ..., None], 0)[0]
