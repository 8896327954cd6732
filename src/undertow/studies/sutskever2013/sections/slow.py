"""What momentum does for the layers that get little gradient."""

from typing import Any

import altair as alt
import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.page import Figure, Prose, Section, Table
from undertow.render.rows import number
from undertow.studies.curves import layer_curves
from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import best_method, caught_up, slow_layers, slowness
from undertow.studies.wording import percent, signed


def section(results: Results) -> Section:
    """How far each layer comes, with and without momentum."""
    method = best_method(results, "Nesterov")
    return Section(
        "slow",
        "What it does for the slow layers",
        [
            Prose(
                """
                Layers far from the output get little gradient. Can momentum make up for it? It sums up steps that agree: along a direction in which
                the gradient is small but steady, the velocity grows to $1/(1-\\mu)$ times a single step, while steps that alternate cancel.
                So it should help most where the cost falls slowly and steadily: **the paper says** so of directions in which the cost is little
                curved. Are layers that get little gradient such directions? **Method.** How far have a layer's weights moved from their start,
                relative to their size there?
                """
            ),
            Figure(
                "moved",
                [_panel(results, name) for name in ("SGD", method)],
                "How far every layer comes",
                "Distance of a layer's weights from their start over their size there; median over the networks and the range of all.",
            ),
            _table(results, method),
            Prose(_said(results, method)),
            Prose(
                """
                A caution belongs to it: the learning rates differ, each the best for its method, and distance is not progress. What can be
                said is which layers gain more than others, not by how much momentum alone is to be thanked.
                """
            ),
        ],
    )


def _said(results: Results, method: str) -> str:
    received, further = slow_layers(results, method)
    most, least = int(np.argmax(further)), int(np.argmin(further))
    rank = slowness(received, further)
    told = (
        "those that get least gain most"
        if rank < -0.5
        else "there is no such order"
        if rank < 0.5
        else "those that get most gain most"
    )
    at, alone = caught_up(results, "SGD")
    _, carried = caught_up(results, method)
    return f"""
        **Here** the slow layers catch up sooner with momentum: after {at:,} updates the front half of the layers has come, on average, {percent(alone)} as far
        as the last layer by SGD and {percent(carried)} by {method}. Over all of training it is another matter: layer {most + 1} gains most, which comes {number(float(further[most]))} times as far with momentum as without, and layer {least + 1} least,
        {number(float(further[least]))} times. The rank correlation with the gradient that layers get at the start is {signed(rank)}: {told}.
        """


def _panel(results: Results, name: str) -> alt.LayerChart:
    found = results["methods"][name]
    rows = layer_curves(np.asarray(found["moved"], float), found["updates"], x="update", y="moved")
    return curves_with_bands(
        rows, x="update", y="moved", low="low", high="high", x_title="updates", y_title="distance", band_title="all networks",
        log_x=True, title=f"{name}, η = {found['eta']:g}",
    )  # fmt: skip


def _table(results: Results, method: str) -> Table:
    received, further = slow_layers(results, method)
    rows: list[list[Any]] = [
        [str(l), float(r), float(f)] for l, (r, f) in enumerate(zip(received, further, strict=True), 1)
    ]
    return Table(
        ["layer", "gradient at the start, the output's = 1", f"{method} over SGD: distance moved"],
        rows,
        caption="Gradient that each layer gets at the start, and how many times as far momentum moves it",
        id="slow-table",
    )
