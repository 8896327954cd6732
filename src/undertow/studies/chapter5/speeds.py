"""Experiments on how fast each layer learns: at the start, through full-batch descent, and at the end of training."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertow.lab import Dataset
from undertow.lab.layers import LayerPass
from undertow.lab.readings import per_example_speed, speed, split
from undertow.studies.chapter5.config import BATCH_SIZE, ETA, FIRST_IMAGES, HIDDEN, Chapter5Config, network
from undertow.studies.experiments import Tick

Array = NDArray[np.float64]

AT_ONCE = 64
"""Members in one ensemble when only their start is looked at: 1,000 images x 64 members fill 30 MB a layer."""

BAR_NEURONS = 6
BAR_MEMBERS = 24
"""How many members the page can show the first six neurons of."""

SPLIT_MEMBERS = 64
SHALLOW_EPOCHS = 60


def initial_speeds(data: Dataset, tick: Tick, /, *, config: Chapter5Config, seed: int) -> dict[str, Array]:
    """||δ^l|| of the hidden layers before training, for every depth: {"1": [256, 1], ..., "4": [256, 4]}."""
    x, y = first_images(data)
    result = {}
    for hidden in HIDDEN:
        chunks = []
        for first in range(0, config.initial_members, AT_ONCE):
            members = min(AT_ONCE, config.initial_members - first)
            nets = network(data, hidden, members, seed, first_member=first)
            chunks.append(nets.learning_speed(x, y)[:, :hidden])
        result[str(hidden)] = torch.cat(chunks).double().numpy()
        tick(1)
    return result


def initial_bars(data: Dataset, tick: Tick, /, *, seed: int) -> Array:
    """dC/db of the first six neurons in both hidden layers of [784,30,30,10], [members, 2, 6]."""
    x, y = first_images(data)
    nets = network(data, 2, BAR_MEMBERS, seed)
    signals = nets.backpropagate(nets.inputs(x), nets.targets(y))
    tick(1)
    return torch.stack([at.delta.mean(1)[:, :BAR_NEURONS] for at in signals[:2]], 1).double().numpy()


def descend(
    data: Dataset, tick: Tick, /, *, hidden: int, lmbda: float, config: Chapter5Config, seed: int
) -> dict[str, Array]:
    """Full-batch gradient descent on the first 1,000 images, watching every hidden layer.

    Returns:
        speed: ||mean δ^l|| before each step, per_example_speed: mean ||δ^l||, both [R, steps, hidden];
        accuracy: share of those images right at the end, [R].
    """
    x, y = first_images(data)
    nets = network(data, hidden, config.members, seed)
    averaged, single = [], []

    def observe(_t: int, signals: list[LayerPass]) -> None:
        averaged.append(torch.stack([speed(at) for at in signals[:hidden]], -1))
        single.append(torch.stack([per_example_speed(at) for at in signals[:hidden]], -1))
        tick(1)

    nets.train((x, y), config.descent_steps, len(x), ETA, lmbda, observe=observe)
    return {
        "speed": torch.stack(averaged, 1).double().numpy(),
        "per_example_speed": torch.stack(single, 1).double().numpy(),
        "accuracy": nets.accuracy(x, y).numpy(),
    }


def converge(data: Dataset, tick: Tick, /, *, config: Chapter5Config, seed: int) -> dict[str, Any]:
    """Train a shallow network until little gradient is left, beside a deep one that has not begun.

    Returns:
        For "deep" (4 hidden layers, before training) and "shallow" (1 hidden layer, after each epoch of training):
        speed of every layer, output included; loss; accuracy on the same images; coherence in the first layer.
        Shallow arrays have a second axis for the epochs, the start included.
    """
    x, y = first_images(data)
    deep = network(data, 4, config.members, seed)
    shallow = network(data, 1, config.members, seed)
    stages = [_state(shallow, x, y)]

    def after(_epoch: int) -> None:
        stages.append(_state(shallow, x, y))
        tick(1)

    shallow.train((x, y), SHALLOW_EPOCHS, BATCH_SIZE, eta=0.5, on_epoch=after)
    return {
        "deep": _state(deep, x, y),
        "shallow": {key: np.stack([s[key] for s in stages], 1) for key in stages[0]},
    }


def compare_costs(data: Dataset, tick: Tick, /, *, seed: int) -> dict[str, dict[str, Array]]:
    """||δ^l|| of all layers at the start under both costs, four hidden layers: {initializer: {cost: [members, 5]}}."""
    x, y = first_images(data)
    result: dict[str, dict[str, Array]] = {}
    for initializer in ("default", "large"):
        result[initializer] = {}
        for cost in ("cross-entropy", "quadratic"):
            nets = network(data, 4, SPLIT_MEMBERS, seed, cost=cost, initializer=initializer)
            result[initializer][cost] = nets.learning_speed(x, y).double().numpy()
            tick(1)
    return result


def split_speeds(data: Dataset, tick: Tick, /, *, seed: int) -> dict[str, Array]:
    """Measure every factor of the learning speeds of [784,30,30,30,30,10] at the start; each [members, 4]."""
    x, y = first_images(data)
    nets = network(data, 4, SPLIT_MEMBERS, seed)
    found = split(nets, x, y)
    tick(1)
    return vars(found) | {"gain": found.gain}


def first_images(data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images that the chapter takes its gradients over."""
    return data.train.x[:FIRST_IMAGES], data.train.y[:FIRST_IMAGES]


def _state(nets: Any, x: torch.Tensor, y: torch.Tensor) -> dict[str, Array]:
    signals = nets.backpropagate(nets.inputs(x), nets.targets(y))
    averaged = torch.stack([speed(at) for at in signals], -1)
    numbers = {
        "speed": averaged,
        "coherence": averaged[:, 0] / per_example_speed(signals[0]),
        "loss": nets.loss(x, y),
        "accuracy": nets.accuracy(x, y),
    }
    return {key: value.double().numpy() for key, value in numbers.items()}
