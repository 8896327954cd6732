"""Experiments in which the front layers' gradient is not too small but too large."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertow.lab import Dataset, Ensemble, Initializer
from undertow.studies.chapter5.config import BATCH_SIZE, ETA, network
from undertow.studies.chapter5.speeds import first_images
from undertow.studies.experiments import Tick

Array = NDArray[np.float64]

EXPLODING_MEMBERS = 20
EXPLODING_IMAGES = 2_000

DIVERGING: dict[str, dict[str, Any]] = {
    "ReLU, N(0, 1)": {"activation": "relu", "cost": "log-likelihood", "initializer": "large"},
    "linear, N(0, 1), quadratic cost": {
        "activation": "linear",
        "cost": "quadratic",
        "output": "linear",
        "initializer": "large",
    },
    "sigmoid, N(0, 1)": {"activation": "sigmoid", "cost": "cross-entropy", "initializer": "large"},
    "ReLU, He": {"activation": "relu", "cost": "log-likelihood", "initializer": "he"},
    "sigmoid, the book's": {"activation": "sigmoid", "cost": "cross-entropy", "initializer": "default"},
}
"""Four hidden layers, trained at the chapter's learning rate from these starts; the last two are the controls."""

CENTRED_SD = 3.0
"""Standard deviation of the weights above the first layer in the centred sigmoid network."""


def explode(data: Dataset, tick: Tick, /, *, seed: int) -> dict[str, Any]:
    """Run all of the chapter's explosions on full networks.

    Returns:
        centred_speed: ||δ^l|| of a sigmoid network whose front layers learn faster, [20, 4];
        runs: for each start of `DIVERGING` the speeds before training [20, 4] and what became of each member.
    """
    result: dict[str, Any] = {"centred_speed": centred_speeds(data, seed), "runs": {}}
    for name, how in DIVERGING.items():
        result["runs"][name] = _run(data, seed, how)
        tick(1)
    return result


def centred_speeds(data: Dataset, seed: int) -> Array:
    """Learning speeds of a sigmoid network in which |w σ'| is above 1: large weights, biases that centre z at 0."""
    x, y = first_images(data)
    nets = network(data, 4, EXPLODING_MEMBERS, seed, initializer=Initializer("large", scale=CENTRED_SD))
    nets.layers[0].w.mul_(1 / (CENTRED_SD * data.n_inputs**0.5))
    centre(nets, x)
    return nets.learning_speed(x, y)[:, :-1].double().numpy()


def centre(nets: Ensemble, x: torch.Tensor) -> None:
    """Set b^l = -w^l mean(a^{l-1}), layer by layer, so that every z averages 0 over the examples x."""
    for l, layer in enumerate(nets.layers):
        layer.b.zero_()
        layer.b.copy_(-nets.feedforward(nets.inputs(x))[l].z.mean(1, keepdim=True))


def _run(data: Dataset, seed: int, how: dict[str, Any]) -> dict[str, Any]:
    nets = network(data, 4, EXPLODING_MEMBERS, seed, **how)
    x, y = first_images(data)
    start = nets.learning_speed(x, y)[:, :-1].double().numpy()
    examples = (data.train.x[:EXPLODING_IMAGES], data.train.y[:EXPLODING_IMAGES])
    history = nets.train(examples, 1, BATCH_SIZE, ETA)
    still = [i for i in range(nets.members) if i not in history.diverged]
    speed = nets.learning_speed(x, y)[:, :-1]
    dead = [i for i in still if not speed[i].any()]
    return {
        "speed": start,
        "divergences": [vars(d) for d in history.divergences],
        "dead": dead,
        "finite": [i for i in still if i not in dead],
    }
