"""The variance map q → σ_w² E[φ(√q u)²] + σ_b² and where it comes to rest.

Poole et al. 2016, "Exponential expressivity in deep neural networks through transient chaos". With
dropout (keep-probability ρ) σ_w² becomes σ_w²/ρ: Schoenholz et al. 2017, "Deep information propagation".
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.activations import Activation
from undertow.theory.functions import ActivationLike, as_activation
from undertow.theory.quadrature import expect, expect_weighted

Array = NDArray[np.float64]

Q_MAX = 1e10
"""Variances beyond this count as growing without bound."""

GRID = np.concatenate([[0.0], np.logspace(-12, -3, 37)[:-1], np.logspace(-3, 3, 193)[:-1], np.logspace(3, 10, 29)])
"""Where V(q) - q is looked at before its roots are refined: closest where activations turn from straight to flat."""

AT_REST = 1e-13
ROUNDS = 100
TINY = 1e-16


class NoFixedPoint(ValueError):  # noqa: N818 - the name says what there isn't, and reads so in an except clause
    """The variance of the pre-activations never comes to rest: with depth it grows without bound.

    Example:
        >>> q_star("relu", weight_var=3.0, bias_var=0.0)
        Traceback (most recent call last):
        ...
        undertow.theory.fixedpoint.NoFixedPoint: relu with weight_var=3, bias_var=0: the variance...
    """


def value_moment(activation: ActivationLike, q: ArrayLike) -> Array:
    """E[φ(√q u)²], elementwise over the variances ``q``.

    Example:
        >>> value_moment("relu", [1.0, 2.0]).round(12).tolist()
        [0.5, 1.0]
    """
    phi = as_activation(activation)
    return expect(lambda z: np.square(np.asarray(phi.value(z))), q, phi.kinks)


def slope_moment(activation: ActivationLike, q: ArrayLike) -> Array:
    """E[φ'(√q u)²], elementwise over the variances ``q``.

    Example:
        >>> slope_moment("relu", [1.0, 2.0]).round(12).tolist()
        [0.5, 0.5]
    """
    phi = as_activation(activation)
    return expect(lambda z: np.square(np.asarray(phi.derivative(z))), q, phi.kinks)


def value_moment_slope(activation: ActivationLike, q: ArrayLike) -> Array:
    """d E[φ²] / dq = E[φ φ' u] / √q, which is E[φ'² + φ φ''] for smooth φ (Stein) and right at kinks too.

    Example:
        >>> value_moment_slope("relu", [1.0, 2.0]).round(12).tolist()
        [0.5, 0.5]
    """
    phi = as_activation(activation)
    root = np.sqrt(np.maximum(np.asarray(q, dtype=np.float64), TINY))

    def integrand(z: Array, u: Array) -> Array:
        return np.asarray(phi.value(z) * phi.derivative(z) * u)

    return expect_weighted(integrand, root**2, phi.kinks) / root


def q_star(
    activation: ActivationLike, weight_var: float, bias_var: float, *, q0: float = 1.0, keep: float = 1.0
) -> float:
    """The variance of the pre-activations deep inside a wide random network.

    Where there are several fixed points (GELU, SiLU), it is the one that a network starting at ``q0`` goes to. The
    variance can't oscillate: the map's slope at a fixed point is at least -1/2, for any φ, as
    d ln E[φ²] / d ln q = E[φ² (u² - 1)] / (2 E[φ²]).

    Args:
        activation: name, `Activation` or elementwise NumPy function.
        weight_var: σ_w² = n_in Var W.
        bias_var: σ_b² = Var b.
        q0: variance of the first layer's pre-activations.
        keep: dropout's keep-probability ρ, with kept values scaled by 1/ρ.

    Raises:
        NoFixedPoint: the variance grows without bound.
        ValueError: a negative or non-finite variance, or ``keep`` outside (0, 1].

    Source:
        Poole et al. 2016.

    Example:
        >>> round(q_star("tanh", weight_var=2.25, bias_var=0.0), 6)
        0.793354
        >>> q_star("tanh", weight_var=0.9, bias_var=0.0)
        0.0
    """
    phi = as_activation(activation)
    check_variances(weight_var=weight_var, bias_var=bias_var, q0=q0)
    check_keep(keep)
    effective = weight_var / keep
    found = float(fixed_points(phi, np.array([effective]), np.array([float(bias_var)]), q0)[0])
    if not np.isfinite(found):
        raise NoFixedPoint(
            f"{phi.name} with weight_var={weight_var:g}, bias_var={bias_var:g}: the variance of the pre-activations "
            "grows without bound with depth, so there is no q*; lower weight_var or bias_var, or give q to look at "
            "one layer"
        )
    return found


def check_variances(**variances: float) -> None:
    """Refuse variances that are negative or not finite.

    Example:
        >>> check_variances(weight_var=-1.0)
        Traceback (most recent call last):
        ...
        ValueError: weight_var must be a finite number >= 0, got -1.0
    """
    for name, variance in variances.items():
        if not (np.isfinite(variance) and variance >= 0):
            raise ValueError(f"{name} must be a finite number >= 0, got {variance}")


def check_keep(keep: float) -> None:
    """Refuse keep-probabilities outside (0, 1].

    Example:
        >>> check_keep(0.0)
        Traceback (most recent call last):
        ...
        ValueError: keep is the probability of keeping a unit, in (0, 1]; got 0.0
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep is the probability of keeping a unit, in (0, 1]; got {keep}")


def fixed_points(phi: Activation, weight_var: Array, bias_var: Array, q0: float = 1.0) -> Array:
    """`q_star` for many points at once; inf where the variance grows without bound.

    Args:
        phi: the activation.
        weight_var: σ_w², [points].
        bias_var: σ_b², [points].
        q0: variance of the first layer's pre-activations.

    Returns:
        q*, [points].

    Example:
        >>> from undertow.activations import activation
        >>> fixed_points(activation("relu"), np.array([1.0, 3.0]), np.array([0.5, 0.5])).round(9).tolist()
        [1.0, inf]
    """
    growth = weight_var * value_moment(phi, q0) + bias_var - q0
    settled = np.abs(growth) <= AT_REST * max(q0, TINY)
    low, high = _brackets(phi, weight_var, bias_var, q0, growth > 0)
    found = np.where(settled, q0, np.inf)
    inside = ~settled & np.isfinite(high)
    found[inside] = _refine(phi, weight_var[inside], bias_var[inside], low[inside], high[inside])
    return found


@lru_cache(maxsize=64)
def _table(phi: Activation) -> Array:
    return value_moment(phi, GRID)


def _brackets(
    phi: Activation, weight_var: Array, bias_var: Array, q0: float, upward: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Intervals [points] around the first fixed point that q0 flows to; the upper end inf if there is none."""
    with np.errstate(invalid="ignore"):  # 0 times a moment that overflows: no weights, so no growth
        net = np.where(weight_var[:, None] == 0, 0.0, weight_var[:, None] * _table(phi)) + bias_var[:, None] - GRID
    up = _first(upward[:, None] & (net <= 0) & (q0 < GRID))
    down = _last(~upward[:, None] & (net >= 0) & (q0 > GRID))
    low = np.where(upward, np.maximum(q0, GRID[np.maximum(up - 1, 0)]), GRID[down])
    high = np.where(upward, np.append(GRID, np.inf)[up], np.minimum(q0, GRID[np.minimum(down + 1, len(GRID) - 1)]))
    point, turn = _turns(net, upward, low, high, q0)
    if point.size:
        _narrow(phi, weight_var, bias_var, upward, point, turn, low, high)
    return low, high


def _first(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.where(flags.any(axis=1), flags.argmax(axis=1), flags.shape[1])


def _last(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.where(flags.any(axis=1), flags.shape[1] - 1 - flags[:, ::-1].argmax(axis=1), 0)


def _turns(
    net: Array, upward: NDArray[np.bool_], low: Array, high: Array, q0: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(point, grid index) pairs on the way to the bracket where V(q) - q turns back and may touch zero in between."""
    middle, left, right = net[:, 1:-1], net[:, :-2], net[:, 2:]
    dips = (middle > 0) & (middle <= left) & (middle <= right) & (GRID[1:-1] > q0) & (GRID[1:-1] < low[:, None])
    peaks = (middle < 0) & (middle >= left) & (middle >= right) & (GRID[1:-1] < q0) & (GRID[1:-1] > high[:, None])
    point, turn = np.nonzero(np.where(upward[:, None], dips, peaks))
    nearest_last = np.argsort(-np.abs(turn - np.searchsorted(GRID, q0)), kind="stable")
    return point[nearest_last], turn[nearest_last] + 1


def _narrow(
    phi: Activation,
    weight_var: Array,
    bias_var: Array,
    upward: NDArray[np.bool_],
    point: NDArray[np.intp],
    turn: NDArray[np.intp],
    low: Array,
    high: Array,
) -> None:
    """Move the brackets of the points to where V(q) - q does reach zero at its turn, the nearest to q0 last."""
    left, right = GRID[turn - 1], GRID[turn + 1]
    sign = np.where(upward[point], 1.0, -1.0)
    for _ in range(50):
        middle = (left + right) / 2
        before = sign * (weight_var[point] * value_moment_slope(phi, middle) - 1) < 0
        left, right = np.where(before, middle, left), np.where(before, right, middle)
    net = weight_var[point] * value_moment(phi, middle) + bias_var[point] - middle
    reaches = np.flatnonzero(sign * net <= AT_REST * middle)
    rising = upward[point[reaches]]
    low[point[reaches]] = np.where(rising, GRID[turn[reaches] - 1], middle[reaches])
    high[point[reaches]] = np.where(rising, middle[reaches], GRID[turn[reaches] + 1])


def _refine(phi: Activation, weight_var: Array, bias_var: Array, low: Array, high: Array) -> Array:
    """Newton's method kept inside brackets with V(q) - q >= 0 at the lower end and <= 0 at the upper."""
    q = (low + high) / 2
    q = np.where(low == 0, np.where(weight_var * float(phi.value(0.0)) ** 2 + bias_var > 0, q, 0.0), q)
    busy = np.flatnonzero(q > 0)
    for _ in range(ROUNDS):
        if not busy.size:
            break
        at, w = q[busy], weight_var[busy]
        net = w * value_moment(phi, at) + bias_var[busy] - at
        low[busy], high[busy] = np.where(net >= 0, at, low[busy]), np.where(net <= 0, at, high[busy])
        new = at - net / (w * value_moment_slope(phi, at) - 1)
        # Written so that a new q of nan counts as outside.
        outside = ~((new > low[busy]) & (new < high[busy]))
        q[busy] = np.where(outside, (low[busy] + high[busy]) / 2, new)
        done = (np.abs(q[busy] - at) <= 1e-14 * at) | (np.abs(net) <= 1e-15 * at)
        busy = busy[~done]
    return q
