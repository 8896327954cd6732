"""The words and numbers that every rendering of a forecast shows."""

import math
from typing import Any

import numpy as np

from undertow.formatting import number, power
from undertow.jsonable import jsonable
from undertow.theory.forecasting import Forecast

LAYERS_SHOWN = 9

UNBOUNDED = "none: grows without bound"


def title(forecast: Forecast) -> str:
    """Return the network that the forecast is of, in a line.

    Example:
        >>> title(Forecast.of("tanh", 1.0, 0.05, depth=50, width=300))
        'tanh, weight variance 1/n, bias variance 0.05: 50 layers of 300 units'
    """
    weights = f"{forecast.weight_var:g}/n" if forecast.weight_var else "0"
    units = f" of {forecast.width:g} units" if math.isfinite(forecast.width) else ", infinitely wide"
    layers = f"{forecast.depth} layer{'s' * (forecast.depth > 1)}"
    return f"{forecast.activation}, weight variance {weights}, bias variance {forecast.bias_var:g}: {layers}{units}"


def summary(forecast: Forecast) -> list[tuple[str, str, str]]:
    """Name, value and meaning of everything that holds deep inside the network.

    Example:
        >>> [row[:2] for row in summary(Forecast.of("sigmoid", 1.0, 1.0, depth=5))[:3]]
        [('q*', '1.3'), ('χ₁', '0.042'), ('phase', 'ordered: gradients vanish')]
    """
    at_rest = UNBOUNDED if forecast.q_star is None else number(forecast.q_star)
    return [
        ("q*", at_rest, "variance of z deep inside"),
        ("χ₁", number(forecast.chi), "squared gradient, times this a layer"),
        ("phase", PHASES[forecast.phase], "of the two, and the edge between them"),
        ("√χ₁", number(forecast.norm_factor), "gradient's norm, times this a layer"),
        ("ξ_q", _layers(forecast.xi_q), "until z's variance is e-fold nearer to q*"),
        ("ξ_c", _layers(forecast.xi_c), "until two inputs' correlation settles, e-fold"),
        ("ξ_grad", _layers(forecast.xi_grad), "per e-fold of squared gradient (−: it grows)"),
        ("trainable", _layers(forecast.trainable_depth, "up to "), "6 ξ_c: Schoenholz et al.'s rule of thumb"),
    ]


PHASES = {
    "ordered": "ordered: gradients vanish",
    "chaotic": "chaotic: gradients explode",
    "critical": "critical: on the edge",
    None: "none: the signal never settles",
}


def headings(forecast: Forecast) -> list[str]:
    """Return the headings of the columns of `layer_rows`."""
    spread = ["95 % of networks"] if math.isfinite(forecast.width) else []
    return ["layer", "variance q", "‖δˡ‖/‖δᴸ‖ expected", *spread, "χ"]


def layer_rows(forecast: Forecast) -> list[list[str]]:
    """Layers from the first to the last, evenly spaced: q, the expected norm of δ relative to the last layer's, χ.

    Example:
        >>> layer_rows(Forecast.of("relu", 1.0, depth=3))
        [['1', '1', '0.5', '0.5'], ['2', '0.5', '0.707', '0.5'], ['3', '0.25', '1', '–']]
    """
    layers, (low, high) = forecast.layers, forecast.interval()
    rows = []
    for l in _shown(forecast.depth):
        spread = [f"{power(low[l])} to {power(high[l])}"] if math.isfinite(forecast.width) else []
        chi = number(float(layers.chi[l])) if l < len(layers.chi) else "–"
        rows.append([str(l + 1), number(float(layers.q[l])), power(layers.decades[l]), *spread, chi])
    return rows


def to_dict(forecast: Forecast) -> dict[str, Any]:
    """Return JSON values; what isn't finite or doesn't exist is None.

    Example:
        >>> to_dict(Forecast.of("relu", 4.0, depth=2, width=8))["width"]
        8
    """
    low, high = forecast.interval()
    layers = {**vars(forecast.layers), "low": low, "high": high}
    data: dict[str, Any] = jsonable({**vars(forecast), "norm_factor": forecast.norm_factor, "layers": layers})
    return data


def _shown(depth: int) -> list[int]:
    return sorted(set(np.linspace(0, depth - 1, min(depth, LAYERS_SHOWN)).round().astype(int).tolist()))


def _layers(value: float | None, before: str = "") -> str:
    if value is None:
        return "–"
    return f"{before}{value:.3g} layers" if math.isfinite(value) else "any depth" if before else "∞"
