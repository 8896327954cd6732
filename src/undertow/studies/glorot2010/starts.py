"""Networks of the paper's own width as they start: how large is what flows through them, forwards and back?"""

from typing import Any

import numpy as np

from undertow.lab import Dataset
from undertow.studies.experiments import Tick
from undertow.studies.glorot2010.config import CONFIGURATIONS, Glorot2010Config, network
from undertow.studies.glorot2010.images import images
from undertow.studies.glorot2010.looking import measures, samples

SAMPLES = 1_500
"""Values of each layer that the histograms are drawn from."""


def start(
    data: Dataset, tick: Tick, /, *, source: str, name: str, config: Glorot2010Config, seed: int
) -> dict[str, Any]:
    """Histograms and sizes of every hidden layer's signals before training.

    Returns:
        samples: activation, delta, weight_gradient, each [hidden layers, samples];
        and all that `looking.measures` measures, each [networks, hidden layers].
    """
    stream, found = images(source, data, seed, config.held_out), []
    x, y = stream.validation.x[: config.examined], stream.validation.y[: config.examined]
    for i in range(config.start_seeds):
        nets = network(CONFIGURATIONS[name], source, data, config.start_width, 1, seed, first_member=i)
        found.append(measures(nets, x, y))
        tick(1)
    drawn = samples(nets.backpropagate(*nets.examples(x, y)), SAMPLES, np.random.default_rng(seed))
    return {"samples": drawn, **{key: np.concatenate([each[key] for each in found]) for key in found[0]}}
