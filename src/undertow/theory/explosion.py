"""A chain made to explode: every neuron held where its activation is steepest, behind a large weight.

The book's construction: w_j = 100 and b_j = -100 a_(j-1), so that z_j = 0, σ'(z_j) = 1/4, and every layer multiplies
the gradient by 25. It stands on a knife's edge: the same weights magnify any error in a bias.
"""

import numpy as np
from numpy.typing import NDArray

from undertow.theory import chain
from undertow.theory.bounds import steepest
from undertow.theory.functions import ActivationLike, as_activation

Array = NDArray[np.float64]


def explosive(
    depth: int, weight: float = 100.0, a0: float = 0.5, activation: ActivationLike = "sigmoid"
) -> tuple[Array, Array]:
    """Weights and biases of a chain whose gradient grows by w max|φ'| at every layer.

    Args:
        depth: neurons.
        weight: every w_j.
        a0: the input.
        activation: name, `Activation` or elementwise NumPy function.

    Returns:
        weights and biases, [depth] each.

    Source:
        The book's section on the exploding gradient problem.

    Example:
        >>> weights, biases = explosive(depth=4)
        >>> biases.tolist()
        [-50.0, -50.0, -50.0, -50.0]
        >>> speeds = chain.gradients(weights, biases, a0=0.5)
        >>> (speeds[:-1] / speeds[1:]).tolist()
        [25.0, 25.0, 25.0]
    """
    phi = as_activation(activation)
    z, _ = steepest(phi)
    inputs = np.append(a0, np.full(depth - 1, float(phi.value(z))))
    return np.full(depth, float(weight)), z - weight * inputs


def perturbed_gains(
    noise: float,
    depth: int = 4,
    weight: float = 100.0,
    activation: ActivationLike = "sigmoid",
    chains: int = 10_000,
    seed: int = 0,
) -> Array:
    """|dC/db_1| / |dC/db_L| of the explosive chain after noise on every bias; without noise (w max|φ'|)^(L-1).

    Args:
        noise: standard deviation of the error in each bias.
        depth: neurons.
        weight: every w_j.
        activation: name, `Activation` or elementwise NumPy function.
        chains: how many to draw.
        seed: of the draws.

    Returns:
        the ratios, [chains].

    Example:
        >>> float(np.median(perturbed_gains(noise=0.0)))
        15625.0
        >>> bool(np.median(perturbed_gains(noise=0.02)) < 20)
        True
    """
    weights, biases = explosive(depth, weight, activation=activation)
    errors = noise * np.random.default_rng(seed).standard_normal((depth, chains))
    speeds = np.abs(chain.gradients(weights, biases[:, None] + errors, 0.5, activation=activation))
    with np.errstate(divide="ignore", invalid="ignore"):  # a last neuron that is dead has no gradient to compare
        return np.asarray(speeds[0] / speeds[-1])
