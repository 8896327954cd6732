"""Networks of the paper's own width as they start: how large is what flows through them, forwards and back?"""

from typing import Any

import numpy as np

from undertow.lab import Dataset
from undertow.studies.glorot2010.images import images
from undertow.studies.glorot2010.looking import measures, samples
from undertow.studies.glorot2010.protocol import CONFIGURATIONS, Amount, network
from undertow.studies.tasks import Tick

SAMPLES = 1_500
"""Values of each layer that the histograms are drawn from."""


def start(data: Dataset, tick: Tick, /, *, source: str, name: str, amount: Amount, seed: int) -> dict[str, Any]:
    """Histograms and sizes of every hidden layer's signals before training.

    Returns:
        samples: activation, delta, weight_gradient, each [hidden layers, samples];
        and all that `looking.measures` measures, each [networks, hidden layers].
    """
    stream, found = images(source, data, seed, amount.held_out), []
    x, y = stream.validation.x[: amount.examined], stream.validation.y[: amount.examined]
    for i in range(amount.start_seeds):
        nets = network(CONFIGURATIONS[name], source, data, amount.start_width, 1, seed, first_member=i)
        found.append(measures(nets, x, y))
        tick(1)
    drawn = samples(nets.backpropagate(*nets.examples(x, y)), SAMPLES, np.random.default_rng(seed))
    return {"samples": drawn, **{key: np.concatenate([each[key] for each in found]) for key in found[0]}}
