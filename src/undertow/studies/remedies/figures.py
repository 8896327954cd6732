"""The figures and tables of the study's page, each named as in `article.md`."""

from functools import partial
from typing import Any

import altair as alt
import numpy as np

from undertow.formatting import MINUS
from undertow.pytorch_code import spelled
from undertow.render.charts import bars, curves_with_bands, heatmap
from undertow.render.page import Table
from undertow.studies.curves import banded
from undertow.studies.remedies.config import TRAINS, variances
from undertow.studies.remedies.table import AXES, CALLED, best_accuracy, deepest, gradient_decades, main_effect
from undertow.studies.study import Results

Charts = list[alt.LayerChart]

EDGES = (-np.inf, -8, -4, -2, -1, 1, 2, np.inf)
NAMES = ("−8 and less", "−8 to −4", "−4 to −2", "−2 to −1", "−1 to 1", "1 to 2", "2 and more")
KINDS = {"plain": [0], "norm": [1, 2], "residual": [3, 4]}
"""Places of the architectures of a kind."""


def reach_map(results: Results) -> Charts:
    """Draw the deepest that train, a map for each activation."""
    factors, reached = results["factors"], deepest(results)
    panels = []
    for a, activation in enumerate(factors["activation"]):
        rows = [
            {"start": s, "architecture": h, "deepest": int(reached[a, j, :, k].max())}
            for k, s in reversed(list(enumerate(factors["start"])))
            for j, h in enumerate(factors["architecture"])
        ]
        panels.append(
            heatmap(
                rows, x="architecture", y="start", value="deepest", x_title="between the layers", y_title="start",
                value_title="hidden layers, the deepest that train", labels=True, title=spelled(activation), height=190,
            )
        )  # fmt: skip
    return panels


def accuracy_by_depth(results: Results) -> Charts:
    """Draw accuracy over depth, a curve for each architecture."""
    factors, accuracy = results["factors"], best_accuracy(results)
    panels = []
    for a, activation in enumerate(factors["activation"]):
        rows: list[dict[str, Any]] = []
        for j, h in enumerate(factors["architecture"]):
            over = 100 * accuracy[a, j].max(0)  # the best optimizer of each depth and start
            for d, values in zip(factors["depth"], over, strict=True):
                ends = {"low": values.min(), "high": values.max()}
                rows.append({"depth": d, "between": h, "right": np.median(values), **ends})
        panels.append(
            banded(
                rows, "depth", "right", colour="between", x_title="hidden layers", y_title="right, %",
                band_title="all starts", log_x=True, log_y=False, y_domain=(0, 100), title=spelled(activation),
                height=210,
            )
        )  # fmt: skip
    return panels


def _profiles(results: Results, activation: str) -> Charts:
    panels = []
    for architecture, found in results["start_speed"][activation].items():
        speeds = np.asarray(found[str(results["amount"]["profile_depth"])], float)
        rows = [
            {"place": l, "start": start, "speed": v}
            for start, speed in zip(results["factors"]["start"], speeds, strict=True)
            for l, v in enumerate(speed / speed[-1], 1)
        ]
        panels.append(
            curves_with_bands(
                rows, x="place", y="speed", colour="start", x_title="hidden layer", y_title="||∂C/∂b||, the last's = 1",
                title=architecture, height=170,
            )
        )  # fmt: skip
    return panels


profiles_sigmoid, profiles_tanh, profiles_relu = (
    partial(_profiles, activation=name) for name in ("sigmoid", "tanh", "relu")
)


def theory_table(results: Results) -> Table:
    """Tell what theory foresees of plain networks, and what was measured."""
    depth: int = results["amount"]["profile_depth"]
    rows: list[list[Any]] = []
    measured = gradient_decades(results)[:, 0, list(results["factors"]["depth"]).index(depth)]
    for a, activation in enumerate(results["factors"]["activation"]):
        for s, start in enumerate(results["factors"]["start"]):
            gain, (weight_var, bias_var) = results["expected_gain"][activation][start], variances(start, activation)
            foreseen = round(float(np.log10(gain)) * (depth - 1), 1) + 0.0
            decades = (f"{each:.1f}".replace("-", MINUS) for each in (foreseen, measured[a, s]))
            sizes = f"{weight_var:.3g}, {bias_var:.3g}"
            rows.append([f"{spelled(activation)}, {start}", sizes, float(gain), *decades])
    return Table(["plain networks", "n Var W, Var b", "factor a layer", "decades, foreseen", "measured"], rows)


def telling(results: Results) -> tuple[alt.LayerChart, list[dict[str, Any]]]:
    """Draw the share that trains by how far the gradient has faded before training, the numbers in a table."""
    decades, accuracy = gradient_decades(results), best_accuracy(results).max(2)
    rows = []
    for name, low, high in zip(NAMES, EDGES, EDGES[1:], strict=False):
        for kind, places in KINDS.items():
            d, right = decades[:, places].ravel(), accuracy[:, places].ravel()
            chosen = (d >= low) & (d < high)
            if chosen.any():
                trained = 100 * float(np.mean(right[chosen] >= TRAINS))
                rows.append({"decades": name, "kind": kind, "trained": trained, "networks": int(chosen.sum())})
    chart = bars(
        rows, x="decades", y="trained", colour="kind", x_title="decades from the last hidden layer to the first",
        y_title="that train, %", y_domain=(0, 100), height=240,
    )  # fmt: skip
    return chart, rows


def main_effects(results: Results) -> Charts:
    """Draw the mean accuracy at the levels of each factor."""
    panels = []
    for factor in AXES:
        means = main_effect(results, factor).items()
        rows = [{"level": spelled(level), "right": 100 * mean} for level, mean in means]
        titles: dict[str, Any] = {"x_title": CALLED[factor], "y_title": "right, %, on average"}
        panels.append(bars(rows, x="level", y="right", y_domain=(0, 100), height=150, **titles))
    return panels
