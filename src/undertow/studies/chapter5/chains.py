"""The chapter's one-neuron chains: the product of factors, formed for many random chains, and made to explode."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.theory import chain, explosion

Array = NDArray[np.float64]

DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16)
CHAINS = 10_000
SHOWN_DEPTH = 8
EXPLOSIVE_DEPTH = 4
NOISE = 0.02
DISTURBED = 1_000


def chains(seed: int) -> dict[str, Any]:
    """Chains of sigmoid neurons with weights and biases from N(0, 1), as the text has them.

    Returns:
        depth, first: for each depth, 2.5th, 50th and 97.5th percentile of |dC/db_1| with dC/da_L = 1; shown: the
        factors of one chain, by name, and shown_gradient: its dC/db_1 by backpropagation; explosive: |dC/db_j| in the
        chain made to explode, and in a thousand such chains with a little noise on the biases.
    """
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(DEPTHS),)))
    weights, biases = generator.standard_normal((2, max(DEPTHS), CHAINS))
    a0 = generator.uniform(size=CHAINS)
    first = [np.abs(chain.gradient(weights[:d], biases[:d], a0).value) for d in DEPTHS]
    one = weights[:SHOWN_DEPTH, 0], biases[:SHOWN_DEPTH, 0], a0[0]
    shown = chain.gradient(*one)
    return {
        "depth": list(DEPTHS),
        "first": np.quantile(first, [0.025, 0.5, 0.975], axis=1).T,
        "shown": [{"name": factor.name, "value": float(factor.value)} for factor in shown.factors],
        "shown_gradient": float(chain.gradients(*one)[0]),
        "explosive": explosive(generator),
    }


def explosive(generator: np.random.Generator) -> dict[str, Array]:
    """w = 100 and b_j = -100 a_{j-1} put every z at 0: each layer multiplies the gradient by exactly 25.

    Example:
        >>> speeds = explosive(np.random.default_rng(0))["speed"]
        >>> [float(s) for s in speeds / speeds[-1]]
        [15625.0, 625.0, 25.0, 1.0]
    """
    weights, biases = explosion.explosive(EXPLOSIVE_DEPTH)
    noise = NOISE * generator.standard_normal((EXPLOSIVE_DEPTH, DISTURBED))
    return {
        "speed": np.abs(chain.gradients(weights, biases, 0.5)),
        "disturbed": np.abs(chain.gradients(weights[:, None], biases[:, None] + noise, 0.5)),
    }
