"""The page beside the chapter's, to play with: one chain's factors, where a factor can reach 1, the map of starts."""

import base64
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.activations import ACTIVATIONS
from undertow.render.page import Article
from undertow.studies.article import page
from undertow.studies.chapter5.config import NEURONS
from undertow.studies.study import Results
from undertow.theory import bounds, meanfield

Array = NDArray[np.float64]

NAME = "explore.html"

TRAINED = 0.5
"""A setting counts as trained if its networks get more than this share right."""

WITHIN = 1.0
"""Decades that the gradient may lose or gain over the layers for theory to call a setting fit to train."""

MAPPED = ("tanh", "sigmoid", "relu", "erf", "gelu", "silu")
DRAWS, LONGEST = 12, 30
PERCENT = [(10, 50, 2), (50, 100, 2.5), (100, 200, 5), (200, 500, 10), (500, 1000, 25), (1000, 4001, 100)]
WEIGHT_VAR = np.unique([*np.concatenate([np.arange(*ends) for ends in PERCENT]) / 100, 1 / 3])
"""n_in Var W on the map: round numbers for a reader, closest where the phases meet, and torch's default."""

THOUSANDTHS = [
    0,
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    40,
    50,
    60,
    80,
    100,
    120,
    150,
    *range(200, 1000, 50),
    *range(1000, 2001, 100),
]
BIAS_VAR = np.array(THOUSANDTHS) / 1000
"""Var b on the map."""

CHAIN: dict[str, Any] = {"activation": "sigmoid", "w": 1.0, "b": 0.0, "a": 0.5, "depth": 8, "random": False, "draw": 0}
PRESETS: dict[str, dict[str, Any]] = {
    "every weight 1": CHAIN,
    "the book’s chain, at random": {**CHAIN, "b": 1.0, "random": True},
    "an explosion": {**CHAIN, "w": 16.0, "b": -8.0},
    "a hair off the explosion": {**CHAIN, "w": 16.0, "b": -7.9},
    "tanh, nearly straight": {**CHAIN, "activation": "tanh", "a": 0.1, "depth": 20},
    "a dead ReLU": {**CHAIN, "activation": "relu", "b": -1.0},
}
STARTS: dict[str, tuple[float, float]] = {
    "PyTorch’s nn.Linear": meanfield.INITIALIZERS["standard"],
    "LeCun, Glorot (Xavier), orthogonal": meanfield.INITIALIZERS["lecun"],
    "He (Kaiming)": meanfield.INITIALIZERS["he"],
    "the book’s default": meanfield.INITIALIZERS["default"],
    f"the book’s first: N(0, 1), {NEURONS} inputs": (float(NEURONS), 1.0),
}


def article(results: Results) -> Article:
    """Build the page."""
    meta = {
        "maps": "undertow.theory.meanfield.phase_diagram, inputs that give the first layer’s z variance 1",
        "data": f"{results['data']['name']}, sha256 {results['data']['sha256'][:16]}",
        "seed": str(results["seed"]),
        "undertow": results["environment"]["undertow"],
    }
    made = page(__package__, results, "explorer", figures=("explorer",), text="explore.md")
    return replace(made, meta=meta, instruments=instruments(results["trainability"]))


def learning_rates(results: Results) -> list[str]:
    """Return the learning rates that were tried."""
    return [f"{eta:g}" for eta in results["trainability"]["etas"]]


def learned(results: Results, name: str) -> tuple[float, float]:
    """Return the share of settings that learned, of those that theory expects to and of the others."""
    grid = results["trainability"]
    fit, right = expected(grid, name), np.asarray(grid["accuracy"][name]).mean(-1) > TRAINED
    return float(right[fit].mean()), float(right[~fit].mean())


def best_of(results: Results, name: str) -> float:
    """Return the accuracy of an activation's best setting."""
    return float(np.asarray(results["trainability"]["accuracy"][name]).mean(-1).max())


def expected(grid: Results, name: str) -> NDArray[np.bool_]:
    """Return where theory expects the gradient to change by less than a decade over the layers.

    Returns:
        [bias variances, weight variances].

    Example:
        >>> expected({"weight_var": [0.1, 1.0], "bias_var": [0.0], "depth": 10}, "tanh").tolist()
        [[False, True]]
    """
    bias_var = np.asarray(grid["bias_var"])[:, None]
    chi = meanfield.phase_diagram(name, np.asarray(grid["weight_var"]), bias_var).chi
    return np.asarray(np.abs(np.log10(chi) / 2 * grid["depth"]) < WITHIN)


def instruments(trainability: Results) -> dict[str, Any]:
    """All that the page's scripts read: how it starts, what was drawn, what theory computed, what was trained."""
    return {
        "start": {**CHAIN, "kind": "tanh", "iw": _place(WEIGHT_VAR, 1.0), "ib": 0, "layers": 10, "trained": True},
        "presets": PRESETS,
        "normals": normals().tolist(),
        "peaks": {name: phi.peak for name, phi in ACTIVATIONS.items()},
        "widest": {name: _widest(name) for name in ACTIVATIONS},
        "map": {
            "weight_var": WEIGHT_VAR.tolist(),
            "bias_var": BIAS_VAR.tolist(),
            "maps": {name: _packed_map(name) for name in MAPPED},
            "critical": {name: _critical(name) for name in MAPPED},
            "starts": [{"name": name, "weight_var": w, "bias_var": b} for name, (w, b) in STARTS.items()],
        },
        "measured": measured(trainability),
    }


def normals() -> Array:
    """Standard normal weights and biases for the random chains, [draws, 2, neurons], to three decimals.

    Example:
        >>> normals().shape
        (12, 2, 30)
    """
    return np.random.default_rng(0).standard_normal((DRAWS, 2, LONGEST)).round(3)


def measured(trainability: Results) -> dict[str, Any]:
    """Return the mean accuracy over members, [bias variances][weight variances], for each activation trained."""
    accuracy = {
        name: np.asarray(values).mean(-1).round(4).tolist() for name, values in trainability["accuracy"].items()
    }
    grid = {key: [float(v) for v in trainability[key]] for key in ("weight_var", "bias_var")}
    return {**grid, "chance": 0.1, "accuracy": accuracy}


def _widest(name: str) -> tuple[float, float | None]:
    size, width = bounds.widest_interval(name)
    return size, width if np.isfinite(width) else None


def _packed_map(name: str) -> dict[str, str]:
    found = meanfield.phase_diagram(name, WEIGHT_VAR, BIAS_VAR[:, None])
    return {"chi": packed(found.chi), "q": packed(found.q)}


def packed(values: Array) -> str:
    """Numbers as little-endian float32 in base64, row by row.

    Example:
        >>> packed(np.array([1.0, np.inf]))
        'AACAPwAAgH8='
    """
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _critical(name: str) -> list[list[float]]:
    """Points of the critical line that are on the map."""
    q = np.concatenate([[0.0], np.logspace(-4, 2, 200)])
    weight_var, bias_var = meanfield.critical_line(name, q)
    there = (weight_var <= WEIGHT_VAR[-1]) & (bias_var <= BIAS_VAR[-1])  # false where NaN
    line = np.stack([weight_var, bias_var], -1)[there].round(7)
    return line[np.append(True, np.any(line[1:] != line[:-1], axis=-1))].tolist() if len(line) else []


def _place(values: Array, wanted: float) -> int:
    return int(np.abs(values - wanted).argmin())
