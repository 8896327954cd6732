"""Training the configurations, looked at on the way."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.lab import Dataset, Ensemble
from undertow.studies.experiments import Tick
from undertow.studies.glorot2010.config import (
    BATCH_SIZE,
    CONFIGURATIONS,
    SHAPES,
    Configuration,
    Glorot2010Config,
    network,
)
from undertow.studies.glorot2010.images import Images, images
from undertow.studies.glorot2010.looking import measures

Array = NDArray[np.float64]

FIRST_LOOK = 500
"""Examples after which training is looked at for the first time."""

AT_ONCE = 10_000
JUDGED = 2_000
"""Validation images that errors on the way are measured on."""

PLATEAU = 0.85
"""Error of a network that does hardly better than a guess, of nine classes or ten."""

PILOT_SEED = 10_007
"""Added to the seed for the pilot's images, so that its networks see others than those that count."""


def train(
    data: Dataset, tick: Tick, /, *, source: str, name: str, config: Glorot2010Config, seed: int
) -> dict[str, Any]:
    """Try learning rates, train with the best of them, and look at every layer on the way.

    Returns:
        eta: the learning rate taken; pilot: the validation error of each one tried, {eta: error};
        examples: trained on at each look, [points]; error: on validation images, [members, points];
        test_error: at the end, on test images, [members];
        and all that `looking.measures` measures, each [members, points, hidden layers].
    """
    configuration = CONFIGURATIONS[name]
    pilot = {eta: _pilot(configuration, source, data, config, seed, eta) for eta in configuration.etas}
    eta = chosen(pilot)
    stream = images(source, data, seed, config.held_out)
    nets = network(configuration, source, data, config.width, config.members, seed)
    looks = _look_points(config.examples(source), config.points)
    found: list[dict[str, Array]] = [_look(nets, stream, config)]
    for before, until in pairwise(looks):
        _train(nets, stream, until - before, eta)
        found.append(_look(nets, stream, config))
        tick(1)
    test = 1 - nets.accuracy(stream.test.x, stream.test.y).numpy()
    columns = {key: np.stack([each[key] for each in found], 1) for key in found[0]}
    return {
        "eta": eta,
        "pilot": {f"{e:g}": v for e, v in pilot.items()},
        "examples": looks,
        "test_error": test,
        **columns,
    }


def chosen(pilot: Mapping[float, float]) -> float:
    """Return the learning rate with the least error; the largest where none gets anywhere, and the least is chance.

    Example:
        >>> chosen({0.1: 0.4, 0.2: 0.3}), chosen({0.1: 0.89, 0.2: 0.9})
        (0.2, 0.2)
    """
    best = min(pilot, key=lambda each: pilot[each])
    return best if pilot[best] < PLATEAU else max(pilot)


def _pilot(c: Configuration, source: str, data: Dataset, config: Glorot2010Config, seed: int, eta: float) -> float:
    stream = images(source, data, seed + PILOT_SEED, config.held_out)
    nets = network(c, source, data, config.width, 1, seed + PILOT_SEED)
    _train(nets, stream, config.shapes_pilot if source == SHAPES else config.pilot, eta)
    return 1 - float(nets.accuracy(stream.validation.x[:JUDGED], stream.validation.y[:JUDGED]).mean())


def _train(nets: Ensemble, stream: Images, n: int, eta: float) -> None:
    for first in range(0, n, AT_ONCE):
        nets.train(stream.take(min(AT_ONCE, n - first)), 1, BATCH_SIZE, eta)


def _look(nets: Ensemble, stream: Images, config: Glorot2010Config) -> dict[str, Array]:
    x, y = stream.validation.x, stream.validation.y
    error = 1 - nets.accuracy(x[:JUDGED], y[:JUDGED]).numpy()
    return {"error": error, **measures(nets, x[: config.examined], y[: config.examined])}


def _look_points(total: int, points: int) -> list[int]:
    """Numbers of examples, whole mini-batches, growing by a factor from `FIRST_LOOK` on; 0 before it.

    Example:
        >>> _look_points(8_000, 5)
        [0, 500, 1260, 3170, 8000]
    """
    grown = np.geomspace(FIRST_LOOK, total, points - 1) / BATCH_SIZE
    return [0, *(round(each) * BATCH_SIZE for each in grown)]
