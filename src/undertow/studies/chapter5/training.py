"""Experiments that train the chapter's networks as the chapter does: accuracy, and what became of every layer."""

import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertow.lab import Dataset, Ensemble
from undertow.lab.layers import LayerParameters
from undertow.lab.readings import share_of_progress
from undertow.studies.chapter5.config import BATCH_SIZE, ETA, FIRST_IMAGES, LMBDA, Chapter5Config, network
from undertow.studies.experiments import Tick

Array = NDArray[np.float64]

FRESH = 1_000_003
"""Added to the seed for weights that have nothing to do with those a network started from."""

CONTROLS = {
    "second of two frozen": (2, "random", True),
    "all but the first of four frozen": (4, "random", True),
    "extra three start as identity, frozen": (4, "identity", True),
    "extra three start as identity, trained": (4, "identity", False),
}
"""The puzzle's controls: hidden layers, how those after the first start, and whether they stay so."""


def train_network(data: Dataset, tick: Tick, /, *, hidden: int, config: Chapter5Config, seed: int) -> dict[str, Any]:
    """Train one depth and look at what its layers did.

    Returns:
        validation, test: accuracy after each epoch, [R, epochs]; initial_sha256, final_sha256: of each member's
        weights; moved: ||w - w_0|| / ||w_0|| of each layer, [R, layers]; share: each layer's share of progress before
        training and after each epoch, [R, 1 + epochs, layers]; lost_initial, lost_fresh: validation accuracy lost when
        one layer is put back, [R, layers]; images: w^1 of member 0 before and after, [2, 30, n_in].
    """
    nets = network(data, hidden, config.members, seed)
    start = [layer.copy() for layer in nets.layers]
    initial = digests(nets)
    shares = [_share(nets, data)]

    def after(_epoch: int) -> None:
        shares.append(_share(nets, data))
        tick(1)

    history = nets.train(
        (data.train.x, data.train.y),
        config.epochs,
        BATCH_SIZE,
        ETA,
        LMBDA,
        evaluate={"validation": (data.validation.x, data.validation.y), "test": (data.test.x, data.test.y)},
        on_epoch=after,
    )
    fresh = network(data, hidden, config.members, seed + FRESH).layers
    return {
        **history.accuracy,
        "initial_sha256": initial,
        "final_sha256": digests(nets),
        "moved": np.stack([_moved(was, now) for was, now in zip(start, nets.layers, strict=True)], -1),
        "share": np.stack(shares, 1),
        "lost_initial": accuracy_lost(nets, start, data),
        "lost_fresh": accuracy_lost(nets, fresh, data),
        "images": torch.stack([start[0].w[0], nets.layers[0].w[0]]).numpy(),
    }


def train_control(data: Dataset, tick: Tick, /, *, control: str, config: Chapter5Config, seed: int) -> Array:
    """Validation accuracy [R, epochs] of a network whose hidden layers after the first start or stay otherwise."""
    hidden, start, frozen = CONTROLS[control]
    nets = network(data, hidden, config.members, seed)
    extra = range(1, hidden)
    if start == "identity":
        for l in extra:
            start_as_identity(nets.layers[l])
    history = nets.train(
        (data.train.x, data.train.y),
        config.epochs,
        BATCH_SIZE,
        ETA,
        LMBDA,
        frozen=list(extra) if frozen else (),
        evaluate={"validation": (data.validation.x, data.validation.y)},
        on_epoch=lambda _epoch: tick(1),
    )
    return history.accuracy["validation"]


def start_as_identity(layer: LayerParameters) -> None:
    """Make a sigmoid layer pass on nearly what it is given: σ(4a - 2) has value and slope of a itself at a = 1/2."""
    layer.w.copy_(4 * torch.eye(layer.w.shape[-1]))
    layer.b.fill_(-2)


def accuracy_lost(nets: Ensemble, replacements: list[LayerParameters], data: Dataset) -> Array:
    """Validation accuracy that each member loses when one of its layers is replaced, [R, layers]."""
    whole = nets.accuracy(data.validation.x, data.validation.y)
    lost = []
    for layer, replacement in zip(nets.layers, replacements, strict=True):
        trained = layer.copy()
        layer.copy_(replacement)
        lost.append(whole - nets.accuracy(data.validation.x, data.validation.y))
        layer.copy_(trained)
    return torch.stack(lost, -1).numpy()


def digests(nets: Ensemble) -> list[str]:
    """SHA-256 of each member's w^1, b^1, w^2, ..., as little-endian numbers of the ensemble's dtype.

    Example:
        >>> nets = Ensemble([2, 1], members=2)
        >>> [d[:6] for d in digests(nets)] == [d[:6] for d in digests(Ensemble([2, 1], members=2))]
        True
    """
    return [_digest(nets, i) for i in range(nets.members)]


def _digest(nets: Ensemble, member: int) -> str:
    sha = hashlib.sha256()
    for layer in nets.layers:
        for t in (layer.w[member], layer.b[member]):
            numbers = t.cpu().contiguous().numpy()
            sha.update(numbers.astype(numbers.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def _share(nets: Ensemble, data: Dataset) -> Array:
    x, y = data.train.x[:FIRST_IMAGES], data.train.y[:FIRST_IMAGES]
    return share_of_progress(nets, x, y).numpy()


def _moved(was: LayerParameters, now: LayerParameters) -> Array:
    return ((now.w - was.w).flatten(1).norm(dim=1) / was.w.flatten(1).norm(dim=1)).double().numpy()
