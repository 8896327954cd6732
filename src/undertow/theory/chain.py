"""A chain of single neurons, where the gradient is a product that can be read off (the book's eq. 120-122).

    z_j = w_j a_(j-1) + b_j,   a_j = φ(z_j),   dC/db_1 = φ'(z_1) w_2 φ'(z_2) ... w_L φ'(z_L) dC/da_L

Arrays carry the layers on their first axis, [layers, *chains]: any further axes are chains computed side by side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.activations import Activation
from undertow.theory import bounds
from undertow.theory.functions import ActivationLike, as_activation

__all__ = [
    "Chain",
    "Cost",
    "Factor",
    "Gradient",
    "Increment",
    "bounds",
    "forward",
    "gradient",
    "gradients",
    "increments",
    "linear",
    "quadratic",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """One forward pass: the weights and biases it was made with, and what every neuron computed.

    Attributes:
        activation: φ.
        weights: w_1 ... w_L, [layers, *chains].
        biases: b_1 ... b_L, [layers, *chains].
        a0: the input, [*chains].
        z: weighted inputs z_1 ... z_L, [layers, *chains].
        a: activations a_1 ... a_L, [layers, *chains].
    """

    activation: Activation
    weights: Array
    biases: Array
    a0: Array
    z: Array
    a: Array


@dataclass(frozen=True)
class Cost:
    """The cost as a function of the output a_L: C and dC/da_L, elementwise.

    Make one with `quadratic` or `linear`.
    """

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


@dataclass(frozen=True)
class Factor:
    """One factor of the gradient: its name, as the book writes it, and its value, [*chains]."""

    name: str
    value: Array


@dataclass(frozen=True)
class Gradient:
    """dC/db_j as the product of its factors, from neuron j to the cost.

    Attributes:
        layer: j, counted from 1.
        factors: φ'(z_j), w_(j+1), φ'(z_(j+1)), ..., dC/da_L.

    Example:
        >>> Gradient(1, (Factor("w_2", np.array(3.0)), Factor("dC/da_2", np.array(-0.5)))).value.item()
        -1.5
    """

    layer: int
    factors: tuple[Factor, ...]

    @property
    def value(self) -> Array:
        """dC/db_j, [*chains]."""
        return reduce(np.multiply, [factor.value for factor in self.factors])


@dataclass(frozen=True)
class Increment:
    """Say how far one quantity moves when a bias does: by the derivatives, and exactly.

    Attributes:
        name: ``"da_1"``, ``"dz_2"``, ..., ``"dC"``.
        first_order: the change predicted by eq. 120's chain of "approximately equal", [*chains].
        exact: the change computed with the bias moved, [*chains].
    """

    name: str
    first_order: Array
    exact: Array


def quadratic(target: ArrayLike) -> Cost:
    """The quadratic cost C = (a_L - y)²/2 for the target y.

    Example:
        >>> float(quadratic(1.0).derivative(np.array(0.75)))
        -0.25
    """
    y = np.asarray(target, dtype=np.float64)
    return Cost(lambda a: np.asarray((a - y) ** 2 / 2), lambda a: a - y)


def linear(slope: ArrayLike) -> Cost:
    """A cost of which only the derivative dC/da_L is known: C = slope · a_L.

    Example:
        >>> float(linear(2.0).derivative(np.array(0.75)))
        2.0
    """
    s = np.asarray(slope, dtype=np.float64)
    return Cost(lambda a: s * a, lambda a: s + 0 * a)


def forward(
    weights: ArrayLike, biases: ArrayLike, a0: ArrayLike = 0.5, activation: ActivationLike = "sigmoid"
) -> Chain:
    """Run chains of single neurons forward.

    Args:
        weights: w_1 ... w_L, [layers, *chains].
        biases: b_1 ... b_L, likewise; [layers] or one number serve all chains.
        a0: the input, a number or [*chains].
        activation: name, `Activation` or elementwise NumPy function.

    Raises:
        ValueError: no layer, or shapes that don't go together.

    Example:
        >>> chain = forward(weights=[1.0, 2.0], biases=[-0.5, -1.0], a0=0.5)
        >>> chain.z.tolist(), chain.a.tolist()
        ([0.0, 0.0], [0.5, 0.5])
    """
    phi = as_activation(activation)
    w, b, start = _aligned(_floats(weights), _floats(biases), _floats(a0))
    z, a = np.empty_like(w), np.empty_like(w)
    for j in range(len(w)):
        z[j] = w[j] * (a[j - 1] if j else start) + b[j]
        a[j] = phi.value(z[j])
    return Chain(phi, w, b, start, z, a)


def gradient(
    weights: ArrayLike,
    biases: ArrayLike,
    a0: ArrayLike = 0.5,
    cost: Cost | float = 1.0,
    activation: ActivationLike = "sigmoid",
    layer: int = 1,
) -> Gradient:
    """dC/db_j of a chain of single neurons, factor by factor.

    Args:
        weights: w_1 ... w_L, [layers, *chains].
        biases: b_1 ... b_L, likewise.
        a0: the input, a number or [*chains].
        cost: a `Cost`, or dC/da_L as a number.
        activation: name, `Activation` or elementwise NumPy function.
        layer: j, counted from 1.

    Raises:
        ValueError: no such layer, or shapes that don't go together.

    Source:
        Eq. 121 (j = 1) and 122 (j = 3) of the book.

    Example:
        >>> found = gradient(weights=[1.0, 2.0], biases=[-0.5, -1.0], a0=0.5, cost=quadratic(1.0))
        >>> [(factor.name, float(factor.value)) for factor in found.factors]
        [("sigmoid'(z_1)", 0.25), ('w_2', 2.0), ("sigmoid'(z_2)", 0.25), ('dC/da_2', -0.5)]
        >>> float(found.value)
        -0.0625
    """
    chain = forward(weights, biases, a0, activation)
    _check_layer(layer, len(chain.z))
    slopes = np.asarray(chain.activation.derivative(chain.z), dtype=np.float64)
    factors = []
    for j in range(layer - 1, len(slopes)):
        if j >= layer:
            factors.append(Factor(f"w_{j + 1}", chain.weights[j]))
        factors.append(Factor(f"{chain.activation.name}'(z_{j + 1})", slopes[j]))
    last = Factor(f"dC/da_{len(slopes)}", _as_cost(cost).derivative(chain.a[-1]))
    return Gradient(layer, (*factors, last))


def gradients(
    weights: ArrayLike,
    biases: ArrayLike,
    a0: ArrayLike = 0.5,
    cost: Cost | float = 1.0,
    activation: ActivationLike = "sigmoid",
) -> Array:
    """dC/db_1 ... dC/db_L at once, by backpropagation along the chain (BP1, BP2), [layers, *chains].

    Args and errors: as `gradient`.

    Example:
        >>> gradients(weights=[1.0, 2.0], biases=[-0.5, -1.0], a0=0.5, cost=quadratic(1.0)).tolist()
        [-0.0625, -0.125]
    """
    chain = forward(weights, biases, a0, activation)
    slopes = np.asarray(chain.activation.derivative(chain.z), dtype=np.float64)
    delta = np.empty_like(slopes)
    delta[-1] = slopes[-1] * _as_cost(cost).derivative(chain.a[-1])
    for j in range(len(delta) - 2, -1, -1):
        delta[j] = slopes[j] * chain.weights[j + 1] * delta[j + 1]
    return delta


def increments(
    weights: ArrayLike,
    biases: ArrayLike,
    db: ArrayLike,
    a0: ArrayLike = 0.5,
    cost: Cost | float = 1.0,
    activation: ActivationLike = "sigmoid",
    layer: int = 1,
) -> list[Increment]:
    """Follow a change db of the bias b_j through the chain: da_j, dz_(j+1), da_(j+1), ..., dC.

    The book's argument for eq. 121 is that each change is approximately the one before times one factor. Here the
    approximate and the exact change stand side by side, so that "approximately" can be seen.

    Args:
        weights: w_1 ... w_L, [layers, *chains].
        biases: b_1 ... b_L, likewise.
        db: the change of b_j, finite, a number or [*chains].
        a0: the input, a number or [*chains].
        cost: a `Cost`, or dC/da_L as a number (C is then taken as linear in a_L).
        activation: name, `Activation` or elementwise NumPy function.
        layer: j, counted from 1.

    Raises:
        ValueError: no such layer, or shapes that don't go together.

    Source:
        The argument around eq. 120 of the book.

    Example:
        >>> for step in increments([1.0, 2.0], [-0.5, -1.0], db=0.1, cost=quadratic(1.0)):
        ...     print(f"{step.name} {step.first_order:.5f} {step.exact:.5f}")
        db_1 0.10000 0.10000
        da_1 0.02500 0.02498
        dz_2 0.05000 0.04996
        da_2 0.01250 0.01249
        dC -0.00625 -0.00617
    """
    start, change = np.broadcast_arrays(_floats(a0), _floats(db))
    before = forward(weights, biases, start, activation)
    factors = gradient(weights, biases, start, cost, activation, layer).factors
    moved = before.biases.copy()
    moved[layer - 1] += change
    after, function = forward(before.weights, moved, start, activation), _as_cost(cost)
    exact = [after.biases[layer - 1] - before.biases[layer - 1], after.a[layer - 1] - before.a[layer - 1]]
    names = [f"db_{layer}", f"da_{layer}"]
    for j in range(layer, len(before.z)):
        exact += [after.z[j] - before.z[j], after.a[j] - before.a[j]]
        names += [f"dz_{j + 1}", f"da_{j + 1}"]
    exact.append(function.value(after.a[-1]) - function.value(before.a[-1]))
    first_order = accumulate([np.broadcast_to(change, before.z.shape[1:]), *(f.value for f in factors)], np.multiply)
    return [Increment(*row) for row in zip([*names, "dC"], first_order, exact, strict=True)]


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)


def _aligned(w: Array, b: Array, a0: Array) -> tuple[Array, Array, Array]:
    """Layers along the first axis of both, whatever axes of chains follow; a0 has the chains' axes only."""
    layers = max((len(each) for each in (w, b) if each.ndim), default=0)
    if layers == 0:
        raise ValueError("a chain needs at least one neuron: give weights and biases as [layers, *chains]")
    try:
        chains = np.broadcast_shapes(w.shape[1:], b.shape[1:], a0.shape)
        return _spread(w, layers, chains), _spread(b, layers, chains), np.array(np.broadcast_to(a0, chains))
    except ValueError:
        raise ValueError(
            f"weights {w.shape}, biases {b.shape} and a0 {a0.shape} don't go together: "
            "they are [layers, *chains], [layers, *chains] and [*chains]"
        ) from None


def _spread(values: Array, layers: int, chains: tuple[int, ...]) -> Array:
    missing = (1,) * (1 + len(chains) - values.ndim)
    return np.array(np.broadcast_to(values.reshape(values.shape[:1] + missing + values.shape[1:]), (layers, *chains)))


def _as_cost(cost: Cost | float) -> Cost:
    return cost if isinstance(cost, Cost) else linear(cost)


def _check_layer(layer: int, layers: int) -> None:
    if not 1 <= layer <= layers:
        raise ValueError(f"this chain has neurons 1 to {layers}; there is no neuron {layer}")
