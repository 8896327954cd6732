"""Training autoencoders, looked at on the way: what is left of the error, and how far every layer has come."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.lab import Dataset, Ensemble
from undertow.lab.layers import LayerParameters
from undertow.lab.optimizers import Optimizer
from undertow.studies.experiments import Tick
from undertow.studies.sutskever2013.config import BATCH_SIZE, METHODS, Sutskever2013Config, autoencoder

Array = NDArray[np.float64]

PICTURES = 8
AT_ONCE = 1_000
"""Images in one pass when errors are measured; not the size of a mini-batch, whose signals are still needed."""


def compare(data: Dataset, tick: Tick, /, *, name: str, config: Sutskever2013Config, seed: int) -> dict[str, Any]:
    """Train by one method with each of its learning rates, and keep the run of the best.

    Returns:
        eta: the one kept; tried: final error of each learning rate, {eta: [members]};
        pictures: some test images given back, and shown: the same as they are, both [pictures, rows, columns];
        updates: at each look, [looks]; error: squared error on training images, [members, looks];
        moved: distance of every layer's weights from their start over their size there, [members, looks, layers];
        test_error: on test images, [members]; and with momentum lowered_at, the update from which it is lowered,
        before: error there, kept_high: final error if it is not lowered, both [members].
    """
    method, updates = METHODS[name], whole_epochs(data, config.updates)
    until = updates - config.lowered_for
    runs = {}
    for eta in method.etas[: config.rates]:
        runs[eta] = run(data, config, seed, eta, method.optimizer(updates, until), updates, until)
        tick(1)
    eta = best({each: found["error"][:, -1] for each, found in runs.items()})
    kept = {"eta": eta, "tried": {f"{e:g}": found["error"][:, -1] for e, found in runs.items()}, **runs[eta]}
    if not method.mu:
        return kept
    high = run(data, config, seed, eta, method.optimizer(updates, math.inf), updates, until)
    tick(1)
    before = kept["error"][:, kept["updates"].index(until)]
    return {**kept, "lowered_at": until, "before": before, "kept_high": high["error"][:, -1]}


def rescale(data: Dataset, tick: Tick, /, *, scale: float, config: Sutskever2013Config, seed: int) -> dict[str, Any]:
    """Train from a start of another scale, by Nesterov's method, with the best of its learning rates.

    Returns:
        as `compare`, without what is about lowering; gain: ||δ^l|| / ||δ^{l+1}|| before training, over all images at
        once, [members, layers - 1]; and constant: the squared error of giving back the mean image always.
    """
    method, updates = METHODS["0.99N"], whole_epochs(data, config.scale_updates)
    nets = autoencoder(data, config.hidden, config.members, seed, scale)
    runs = {}
    for eta in method.etas[: config.rates]:
        runs[eta] = run(data, config, seed, eta, method.optimizer(updates, math.inf), updates, 0, scale)
        tick(1)
    eta = best({each: found["error"][:, -1] for each, found in runs.items()})
    x = data.train.x[: config.images]
    constant = float((x - x.mean(0)).double().square().sum(-1).mean())
    return {"eta": eta, "gain": initial_gains(nets, x), "constant": constant, **runs[eta]}


def best(errors: dict[float, Array]) -> float:
    """Return the learning rate with the least mean error; one at which a network diverged comes after all others.

    Example:
        >>> best({0.1: np.array([1.0, np.nan]), 0.01: np.array([3.0, 3.0])})
        0.01
    """
    return min(errors, key=lambda eta: float(np.nan_to_num(errors[eta], nan=np.inf).mean()))


def run(
    data: Dataset,
    config: Sutskever2013Config,
    seed: int,
    eta: float,
    optimizer: Optimizer,
    updates: int,
    also_at: int,
    scale: float = 1.0,
) -> dict[str, Any]:
    """One training run of all members, looked at as `compare` says, ``also_at`` an update of special interest."""
    nets = autoencoder(data, config.hidden, config.members, seed, scale)
    start = [layer.copy() for layer in nets.layers]
    x, judged = data.train.x, data.train.x[: config.images]
    looks = {0, also_at, *np.geomspace(10, updates, config.looks).round().astype(int).tolist()}
    found: dict[int, tuple[Array, Array]] = {}

    def look(t: int, _signals: object = None) -> None:
        if t in looks:
            found[t] = squared_error(nets, judged), moved(nets, start)

    nets.train((x, x), updates // per_epoch(data), BATCH_SIZE, eta, optimizer=optimizer, observe=look)
    look(updates)
    error, distance = (np.stack([found[t][k] for t in sorted(found)], 1) for k in (0, 1))
    return {
        "updates": sorted(found),
        "error": error,
        "moved": distance,
        "test_error": squared_error(nets, data.test.x),
        "pictures": reconstructed(nets, data),
        "shown": data.test.x[:PICTURES].double().numpy().reshape(-1, *data.image_shape).round(3),
    }


def per_epoch(data: Dataset) -> int:
    """Updates in one pass over the training images."""
    return -(-len(data.train) // BATCH_SIZE)


def whole_epochs(data: Dataset, updates: int) -> int:
    """Return as many updates or a few more, to end with an epoch.

    Example:
        >>> from undertow.lab import digits
        >>> per_epoch(digits()), whole_epochs(digits(), 10)
        (6, 12)
    """
    return -(-updates // per_epoch(data)) * per_epoch(data)


def squared_error(nets: Ensemble, x: Tensor) -> Array:
    """Squared error summed over pixels and averaged over images, [members]; NaN where it isn't finite."""
    total = torch.stack([2 * nets.loss(part, part).double() * len(part) for part in x.split(AT_ONCE)]).sum(0) / len(x)
    return np.where(torch.isfinite(total).numpy(), total.numpy(), np.nan)


def reconstructed(nets: Ensemble, data: Dataset) -> Array:
    """Return the first test images as the first member gives them back, [pictures, rows, columns]."""
    given = nets.feedforward(nets.inputs(data.test.x[:PICTURES]))[-1].a[0]
    return given.double().numpy().reshape(-1, *data.image_shape).round(3)


def moved(nets: Ensemble, start: list[LayerParameters]) -> Array:
    """||w - w_0|| / ||w_0|| of every layer, [members, layers]."""
    far = [
        ((a.w - b.w).flatten(1).norm(dim=1) / b.w.flatten(1).norm(dim=1))
        for a, b in zip(nets.layers, start, strict=True)
    ]
    return torch.stack(far, -1).double().numpy()


def initial_gains(nets: Ensemble, x: Tensor) -> Array:
    """||δ^l|| / ||δ^{l+1}|| over all images at once, [members, layers - 1]."""
    signals = nets.backpropagate(*nets.examples(x, x))
    size = torch.stack([at.delta.double().flatten(1).norm(dim=1) for at in signals], -1)
    return (size[:, :-1] / size[:, 1:]).numpy()
