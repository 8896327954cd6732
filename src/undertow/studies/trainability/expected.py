"""Theory's expectation: how deep a network may be before no signal gets through it, 6 ξ_c."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.theory import meanfield

Array = NDArray[np.float64]

POINTS = 150


def depths(activation: str, weight_var: Array, bias_var: float) -> Array:
    """6 ξ_c for each weight variance; NaN where the variance of the signal has no fixed point.

    Example:
        >>> depths("tanh", np.array([1.0, 4.0]), 0.05).round().tolist()
        [22.0, 42.0]
    """
    return np.array([_depth(activation, float(w), bias_var) for w in weight_var])


def critical(activation: str, bias_var: float, low: float, high: float) -> float | None:
    """Return the weight variance at which χ_1 = 1, between two; None if there is none.

    Where the variance has no fixed point (ReLU from 2 on) χ_1 is its limit, which is what the gradient then does.

    Example:
        >>> round(critical("tanh", 0.05, 0.5, 4.0), 2), critical("relu", 0.05, 1.0, 3.0)
        (1.76, 2.0)
    """
    grid = np.linspace(low, high, 4001)
    chi = meanfield.phase_diagram(activation, grid, bias_var).chi
    crossed = np.flatnonzero((chi[:-1] < 1) & (chi[1:] >= 1))
    if not crossed.size:
        return None
    i = int(crossed[0])
    return float(round(np.interp(1.0, chi[i : i + 2], grid[i : i + 2]), 4))


def line(activation: str, bias_var: float, low: float, high: float) -> dict[str, Any]:
    """6 ξ_c along a map: the line to draw over it, ``weight_var`` and ``depth``."""
    grid = np.geomspace(low, high, POINTS)
    return {"weight_var": grid, "depth": depths(activation, grid, bias_var)}


@cache  # near the edge of chaos one takes a tenth of a second
def _depth(activation: str, weight_var: float, bias_var: float) -> float:
    try:
        return meanfield.trainable_depth(activation, weight_var, bias_var)
    except meanfield.NoFixedPoint:
        return float("nan")
