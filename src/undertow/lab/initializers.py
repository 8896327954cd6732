"""How weights and biases start.

Every draw comes from a NumPy generator, in float64, and is rounded to the ensemble's dtype afterwards: the same
seed gives the same network on every device and in every precision.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[Generator, int, int], Array]

SPARSE_INPUTS = 15
"""Inputs that each unit listens to under the sparse initializer (Martens 2010, Sutskever et al. 2013)."""


@dataclass(frozen=True)
class Initializer:
    """A recipe for the weights and biases of every layer.

    Attributes:
        weights: a name from `WEIGHTS`, or a function ``(generator, n_out, n_in) -> [n_out, n_in]``.
        scale: multiplies the weights drawn.
        biases: a name from `BIASES`; None takes the one that goes with the weights: N(0, 1) for the book's two
            initializers, zero elsewhere.
        bias_scale: multiplies the biases drawn.

    Raises:
        ValueError: a name that there is not; the message lists those there are.

    Example:
        >>> w, b = Initializer("constant", scale=0.5).draw(np.random.default_rng(0), n_out=1, n_in=3)
        >>> w.tolist(), b.tolist()
        ([[0.5, 0.5, 0.5]], [0.0])
    """

    weights: str | Draw = "default"
    scale: float = 1.0
    biases: str | None = None
    bias_scale: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.weights, str):
            _known(self.weights, WEIGHTS, "initializer")
        if self.biases is not None:
            _known(self.biases, BIASES, "bias initializer")

    def draw(self, generator: Generator, n_out: int, n_in: int) -> tuple[Array, Array]:
        """Weights [n_out, n_in] and biases [n_out] of one layer of one network."""
        draw = WEIGHTS[self.weights] if isinstance(self.weights, str) else self.weights
        w = self.scale * np.asarray(draw(generator, n_out, n_in))
        if w.shape != (n_out, n_in):
            raise ValueError(
                f"the initializer gave weights of shape {list(w.shape)}, not [n_out, n_in] = {[n_out, n_in]}"
            )
        b = self.bias_scale * BIASES[self._bias_name()](generator, n_out, n_in)
        return w, b

    def _bias_name(self) -> str:
        return self.biases or ("normal" if self.weights in ("default", "large") else "zero")


def initializer(recipe: "str | Initializer") -> Initializer:
    """Turn a name into its recipe; a recipe is returned as it is.

    Example:
        >>> initializer("large").scale
        1.0
    """
    return recipe if isinstance(recipe, Initializer) else Initializer(recipe)


def _known(name: str, table: dict[str, Draw], what: str) -> None:
    if name not in table:
        raise ValueError(f"no {what} named {name!r}; there are: {', '.join(table)}")


def _normal(generator: Generator, n_out: int, n_in: int, variance: float) -> Array:
    return generator.normal(0.0, np.sqrt(variance), (n_out, n_in))


def _uniform(generator: Generator, n_out: int, n_in: int, bound: float) -> Array:
    return generator.uniform(-bound, bound, (n_out, n_in))


def _orthogonal(generator: Generator, n_out: int, n_in: int) -> Array:
    """Orthonormal rows or columns, whichever are fewer, uniformly distributed (Saxe et al. 2014)."""
    tall = generator.standard_normal((max(n_out, n_in), min(n_out, n_in)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # without the signs the distribution is not uniform (Mezzadri 2007)
    return q if n_out >= n_in else q.T


def _sparse(generator: Generator, n_out: int, n_in: int) -> Array:
    w = np.zeros((n_out, n_in))
    chosen = generator.permuted(np.tile(np.arange(n_in), (n_out, 1)), axis=1)[:, :SPARSE_INPUTS]
    np.put_along_axis(w, chosen, generator.standard_normal(chosen.shape), axis=1)
    return w


WEIGHTS: dict[str, Draw] = {
    "default": lambda g, n_out, n_in: _normal(g, n_out, n_in, 1 / n_in),  # the book's, chapter 3
    "large": lambda g, n_out, n_in: _normal(g, n_out, n_in, 1.0),  # the book's, chapter 1
    "standard": lambda g, n_out, n_in: _uniform(g, n_out, n_in, n_in**-0.5),  # Glorot & Bengio's eq. 1
    "glorot_normal": lambda g, n_out, n_in: _normal(g, n_out, n_in, 2 / (n_in + n_out)),
    "glorot_uniform": lambda g, n_out, n_in: _uniform(g, n_out, n_in, np.sqrt(6 / (n_in + n_out))),
    "he": lambda g, n_out, n_in: _normal(g, n_out, n_in, 2 / n_in),
    "lecun": lambda g, n_out, n_in: _normal(g, n_out, n_in, 1 / n_in),
    "orthogonal": _orthogonal,
    "sparse": _sparse,
    "constant": lambda _g, n_out, n_in: np.ones((n_out, n_in)),
}
"""Weight initializers by name. ``default`` and ``lecun`` draw alike, but the book draws biases too."""

BIASES: dict[str, Draw] = {
    "normal": lambda g, n_out, _n_in: g.standard_normal(n_out),
    "uniform": lambda g, n_out, n_in: g.uniform(-(n_in**-0.5), n_in**-0.5, n_out),
    "zero": lambda _g, n_out, _n_in: np.zeros(n_out),
    "constant": lambda _g, n_out, _n_in: np.ones(n_out),
}
