"""How a random chain's product is distributed, drawn instead of integrated: for every activation, kinks and all.

`logproduct` gives mean and spread for bounded, increasing activations. Here chains are drawn, and quantiles counted;
a ReLU's product is exactly zero as soon as one neuron of the chain is off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from undertow.theory import chain
from undertow.theory.functions import ActivationLike

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnProducts:
    """|Π w_j φ'(z_j)| over 1, 2, ... factors, of chains drawn at random.

    Attributes:
        zero: share of the chains whose product is exactly zero, [depth].
        quantiles: ln|product| of the others at the ``levels``, [depth, levels]; -inf where all are zero.
        levels: probabilities, [levels].
        chains: how many were drawn; a share p is off by about √(p (1 - p) / chains).
    """

    zero: Array
    quantiles: Array
    levels: tuple[float, ...]
    chains: int


def drawn_products(
    depth: int,
    activation: ActivationLike = "relu",
    weight_std: float = 1.0,
    bias_std: float = 1.0,
    chains: int = 20_000,
    levels: tuple[float, ...] = (0.05, 0.5, 0.95),
    seed: int = 0,
) -> DrawnProducts:
    """The distribution of |Π w_j φ'(z_j)| for 1 to ``depth`` factors; a ~ U(0, 1) goes in.

    Args:
        depth: the largest number of factors.
        activation: name, `Activation` or elementwise NumPy function.
        weight_std: σ_w.
        bias_std: σ_b.
        chains: how many to draw.
        levels: probabilities of the quantiles asked for.
        seed: of the draws.

    Raises:
        ValueError: no layer, no chain, or a negative or non-finite standard deviation.

    Example:
        >>> found = drawn_products(depth=3)
        >>> bool(np.abs(found.zero - [0.5, 0.75, 0.875]).max() < 0.02)  # every z is as often above zero as below
        True
        >>> drawn_products(depth=3, activation="tanh").zero.tolist()
        [0.0, 0.0, 0.0]
    """
    if depth < 1 or chains < 1:
        raise ValueError(f"give at least one layer and one chain, got depth={depth} and chains={chains}")
    if not (np.isfinite([weight_std, bias_std]).all() and min(weight_std, bias_std) >= 0):
        raise ValueError(f"standard deviations must be finite numbers >= 0, got {weight_std} and {bias_std}")
    rng = np.random.default_rng(seed)
    w, b = weight_std * rng.standard_normal((depth, chains)), bias_std * rng.standard_normal((depth, chains))
    run = chain.forward(w, b, rng.random(chains), activation)
    slopes = np.asarray(run.activation.derivative(run.z), dtype=np.float64)
    # log(0) = -inf is wanted: a product with one factor of zero stays zero for good.
    with np.errstate(divide="ignore"):
        logs = np.cumsum(np.log(np.abs(w * slopes)), axis=0)
    zero = np.isneginf(logs)
    rows = [np.quantile(row[~off], levels) if not off.all() else np.full(len(levels), -np.inf)
            for row, off in zip(logs, zero, strict=True)]  # fmt: skip
    return DrawnProducts(zero.mean(axis=1), np.array(rows), levels, chains)
