"""Random networks drawn and differentiated in NumPy: what theory's predictions are held to."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from undertow.theory.functions import as_activation
from undertow.theory.propagation import Layer

Array = NDArray[np.float64]
Weights = Literal["gaussian", "orthogonal"]


def gradient_norms(
    layers: Sequence[Layer],
    networks: int = 10,
    mean_square: float = 1.0,
    weights: Weights = "gaussian",
    seed: int = 0,
) -> Array:
    """||δ^l|| in random networks, for one random input and a random gradient of length 1 at the last layer.

    Args:
        layers: of finite width, from the input on; the input is as wide as the first.
        networks: how many to draw.
        mean_square: of the inputs.
        weights: normal, or √weight_var times a random orthogonal matrix (equal widths).
        seed: of the draws.

    Returns:
        [networks, layers]; ||δ^L|| = 1.

    Raises:
        ValueError: a layer of infinite width.

    Example:
        >>> norms = gradient_norms([Layer("linear", 1.0, width=50)] * 3, weights="orthogonal")
        >>> norms.shape, bool(np.allclose(norms, 1))
        ((10, 3), True)
    """
    if not np.isfinite([layer.width for layer in layers]).all():
        raise ValueError("a network can only be drawn with finite widths: give every Layer its width")
    generator = np.random.default_rng(seed)
    return np.stack([_norms(generator, layers, mean_square, weights) for _ in range(networks)])


def _norms(generator: Generator, layers: Sequence[Layer], mean_square: float, weights: Weights) -> Array:
    a = np.sqrt(mean_square) * generator.standard_normal(int(layers[0].width))
    a *= np.sqrt(mean_square * a.size) / np.linalg.norm(a) if mean_square else 1.0
    matrices, slopes = [], []
    for layer in layers:
        phi, n = as_activation(layer.activation), int(layer.width)
        w = draw(generator, n, a.size, layer.weight_var, weights)
        z = w @ a + np.sqrt(layer.bias_var) * generator.standard_normal(n)
        mask = (generator.random(n) < layer.keep) / layer.keep
        matrices.append(w)
        slopes.append(np.asarray(phi.derivative(z)) * mask)
        a = np.asarray(phi.value(z), dtype=np.float64) * mask
    return _backward(generator, matrices, slopes)


def _backward(generator: Generator, matrices: list[Array], slopes: list[Array]) -> Array:
    delta = generator.standard_normal(slopes[-1].size)
    delta /= np.linalg.norm(delta)
    norms = [1.0]
    for w, slope in zip(matrices[:0:-1], slopes[-2::-1], strict=True):
        delta = slope * (w.T @ delta)
        norms.append(float(np.linalg.norm(delta)))
    return np.array(norms[::-1])


def draw(generator: Generator, n_out: int, n_in: int, weight_var: float, weights: Weights = "gaussian") -> Array:
    """One weight matrix [n_out, n_in] with n_in Var W = ``weight_var``.

    Raises:
        ValueError: an orthogonal matrix that isn't square.

    Example:
        >>> w = draw(np.random.default_rng(0), 3, 3, 4.0, "orthogonal")
        >>> bool(np.allclose(w @ w.T, 4 * np.eye(3)))
        True
    """
    normal = generator.standard_normal((n_out, n_in))
    if weights == "gaussian":
        return np.asarray(normal * np.sqrt(weight_var / n_in))
    if n_out != n_in:
        raise ValueError(f"orthogonal weights are square here, got [{n_out}, {n_in}]")
    q, r = np.linalg.qr(normal)
    return np.asarray(np.sqrt(weight_var) * q * np.sign(np.diag(r)))
