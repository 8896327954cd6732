"""Activations given as a plain function: their derivative, their kinks, and whether they can be used at all."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from undertow.activations import Activation
from undertow.activations import activation as named

Array = NDArray[np.float64]
Value = Callable[[ArrayLike], NDArray[np.floating]]
ActivationLike = str | Activation | Value

PROBED = 40.0
"""A function is looked at for |z| up to here."""

SPACING = 0.01
ZOOM = 8
ZOOMS = 4
STEP = 5e-4
"""Relative step of the numerical derivative: five points, error below 1e-11 for functions of scale 1."""


class UnusableActivation(ValueError):  # noqa: N818 - reads as what it says, like NoFixedPoint
    """The function is no activation that a gradient can pass: not finite, not elementwise, or discontinuous.

    Example:
        >>> from_function(np.sign)
        Traceback (most recent call last):
        ...
        undertow.theory.functions.UnusableActivation: sign jumps at z = 0...
    """


def as_activation(activation: ActivationLike) -> Activation:
    """Return the `Activation` that a name or a function stands for.

    Args:
        activation: a name, an `Activation`, or an elementwise NumPy function (see `from_function`).

    Raises:
        ValueError: no activation of that name.
        UnusableActivation: the function isn't finite, elementwise and continuous.

    Example:
        >>> as_activation("tanh").peak, as_activation(lambda z: np.clip(z, -1, 1)).kinks
        (1.0, (-1.0, 1.0))
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        return named(activation)
    return _remembered(activation)


@lru_cache(maxsize=64)
def _remembered(value: Value) -> Activation:
    return from_function(value)


def from_function(value: Value, derivative: Value | None = None, kinks: tuple[float, ...] | None = None) -> Activation:
    """An `Activation` from a function: derivative by finite differences and kinks found where they aren't given.

    Kinks are looked for at |z| <= 40, by zooming in on every local maximum of the second difference: it shrinks
    with the spacing where the function is smooth, stays at a kink, and grows at a jump.

    Args:
        value: φ, elementwise on NumPy arrays.
        derivative: φ'; None: five-point differences that never straddle a kink.
        kinks: where φ' jumps; list also places away from zero around which φ bends within less than about 1.

    Raises:
        UnusableActivation: values not finite or not elementwise, or a jump.

    Example:
        >>> swish2 = from_function(lambda z: z / (1 + np.exp(-2 * z)))
        >>> float(swish2.derivative(0.0).round(9)), swish2.kinks
        (0.5, ())
    """
    name = getattr(value, "__name__", type(value).__name__)
    _check_values(name, value)
    found = _kinks(name, value) if kinks is None else tuple(sorted(float(k) for k in kinks))
    slope = derivative or _numerical_derivative(value, found)
    probe = np.linspace(-PROBED, PROBED, round(2 * PROBED / SPACING) + 1)
    return Activation(name, value, slope, peak=float(np.abs(slope(probe)).max()), kinks=found)


def _check_values(name: str, value: Value) -> None:
    probe = np.linspace(-PROBED, PROBED, 401)
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(value(probe), dtype=np.float64)
    except (TypeError, AttributeError) as error:
        raise UnusableActivation(f"{name} can't take a NumPy array ({error}); use NumPy functions") from error
    if values.shape != probe.shape:
        raise UnusableActivation(f"{name} isn't elementwise: {probe.shape} in, {values.shape} out")
    if not np.isfinite(values).all():
        where = probe[~np.isfinite(values)]
        raise UnusableActivation(f"{name} isn't finite at z = {where[np.abs(where).argmin()]:.4g}")


def _kinks(name: str, value: Value) -> tuple[float, ...]:
    # Off the round numbers, on which kinks like to lie: on a grid point one would be seen only from one side.
    grid = np.arange(-PROBED, PROBED + SPACING, SPACING) + SPACING / 3
    second = _second_difference(value, grid, SPACING)
    background = np.maximum(second[:-2], second[2:])
    noise = 1e-9 * (1 + np.abs(np.asarray(value(grid))).max())
    peaks = 1 + np.flatnonzero((second[1:-1] >= background) & (second[1:-1] > noise))
    strongest = peaks[np.argsort(second[peaks])[::-1][:64]]
    found = [_zoom(name, value, float(grid[i]), float(second[i])) for i in strongest]
    return _merge(sorted(kink for kink in found if kink is not None))


def _second_difference(value: Value, grid: Array, spacing: float) -> Array:
    return np.abs(np.asarray(value(grid + spacing)) - 2 * value(grid) + value(grid - spacing)) / spacing


def _zoom(name: str, value: Value, centre: float, at_first: float) -> float | None:
    spacing = SPACING
    for _ in range(ZOOMS):
        grid = centre + np.linspace(-1.5 * spacing, 1.5 * spacing, 3 * ZOOM + 1)
        spacing /= ZOOM
        second = _second_difference(value, grid, spacing)
        centre = float(grid[second.argmax()])
    growth = second.max() / at_first
    if growth > ZOOM ** (ZOOMS / 2):
        raise UnusableActivation(
            f"{name} jumps at z = {round(centre, 4) + 0.0:g}: no gradient passes a jump; use a continuous function"
        )
    return _corner(value, centre, 8 * spacing) if growth > 0.05 else None


def _corner(value: Value, near: float, reach: float) -> float:
    """Return where the line through two points on the left meets the line through two on the right."""
    points = near + reach * np.array([-2.0, -1.0, 1.0, 2.0])
    a, b, c, d = (float(v) for v in np.asarray(value(points), dtype=np.float64))
    left, right = (b - a) / reach, (d - c) / reach
    meeting = near + (c - b - reach * (left + right)) / (left - right)
    # A kink that differs from a round number by rounding only is that number; + 0.0 turns -0.0 into 0.0.
    snapped = round(meeting, 6) + 0.0
    return snapped if abs(meeting - snapped) < 1e-8 else meeting


def _merge(kinks: list[float]) -> tuple[float, ...]:
    return tuple(k for i, k in enumerate(kinks) if i == 0 or k - kinks[i - 1] > SPACING / 10)


def _numerical_derivative(value: Value, kinks: tuple[float, ...]) -> Value:
    corners = np.array(sorted({0.0, *kinks}))  # zero too: many activations are made of two branches that meet there

    def derivative(z: ArrayLike) -> Array:
        at = np.asarray(z, dtype=np.float64)
        step = STEP * np.maximum(1.0, np.abs(at))
        away = at[..., None] - corners
        nearest = np.take_along_axis(away, np.abs(away).argmin(axis=-1, keepdims=True), axis=-1)[..., 0]
        side = np.where(nearest > 0, step, -step)
        return np.where(np.abs(nearest) > 2 * step, _central(value, at, step), _one_sided(value, at, side))

    return derivative


def _central(value: Value, z: Array, h: Array) -> Array:
    inner = np.asarray(value(z + h)) - value(z - h)
    return np.asarray((8 * inner - (np.asarray(value(z + 2 * h)) - value(z - 2 * h))) / (12 * h))


def _one_sided(value: Value, z: Array, h: Array) -> Array:
    weights = (-25.0, 48.0, -36.0, 16.0, -3.0)
    return np.asarray(sum(weight * np.asarray(value(z + k * h)) for k, weight in enumerate(weights)) / (12 * h))
