"""How every figure looks: one set of colours, one set of type, and the layer chosen for all of them at once."""

from typing import Any

import altair as alt
import numpy as np

from undertow.render.palette import CATEGORY_COLOURS, FAINT, FONT, INK, LAYER_COLOURS, MUTED

__all__ = [
    "CATEGORY_COLOURS",
    "FAINT",
    "FONT",
    "INK",
    "LAYER",
    "LAYER_COLOURS",
    "MUTED",
    "highlight",
    "layer_colours",
    "layer_scale",
    "theme",
]

LAYER = alt.param(name="layer", value=None)
"""The layer the reader has chosen, in every chart of a page; null means none."""


def layer_colours(n: int) -> list[str]:
    """Colours of layers 1..n: the first n of ``LAYER_COLOURS``, or for deeper networks a ramp through them.

    Example:
        >>> layer_colours(2)
        ['#06304a', '#4b0fb4']
        >>> deep = layer_colours(10)
        >>> deep[0], deep[-1], len(set(deep))
        ('#06304a', '#c9800f', 10)
    """
    if n <= len(LAYER_COLOURS):
        return list(LAYER_COLOURS[:n])
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in LAYER_COLOURS], dtype=float)
    places = np.linspace(0, len(anchors) - 1, n)
    # Mixed as light, not as code values: so lightness rises all the way.
    channels = [np.interp(places, range(len(anchors)), anchors[:, k] ** 2.2) ** (1 / 2.2) for k in range(3)]
    return ["#" + "".join(f"{round(value):02x}" for value in rgb) for rgb in zip(*channels, strict=True)]


def layer_scale(n: int) -> alt.Scale:
    """The colour scale of a network of n layers; a layer keeps its colour in every chart with up to five.

    Example:
        >>> layer_scale(2).to_dict()
        {'domain': [1, 2], 'range': ['#06304a', '#4b0fb4']}
    """
    return alt.Scale(domain=list(range(1, n + 1)), range=layer_colours(n))


def highlight(full: float = 1.0, faded: float = 0.12) -> alt.OpacityValue:
    """Opacity of a mark: faded when the reader has chosen a layer and the mark's ``layer`` is another, else full.

    Example:
        >>> highlight().to_dict()["value"]
        1.0
    """
    another = "layer !== null && isDefined(datum.layer) && datum.layer !== layer"
    return alt.OpacityValue(full, condition={"test": another, "value": faded})


def theme() -> dict[str, Any]:
    """The Vega-Lite config of every chart. ``figures.to_spec`` lays it under the chart's own; nothing is global."""
    return {
        "background": "white",
        "font": FONT,
        "view": {"stroke": None, "continuousHeight": 260},
        "title": {"anchor": "start", "frame": "group", "fontSize": 14, "fontWeight": 600, "color": INK, "offset": 6},
        "axis": {
            "labelColor": MUTED, "labelFontSize": 12.5, "labelPadding": 5,
            "titleColor": INK, "titleFontSize": 13, "titleFontWeight": "normal", "titlePadding": 8,
            "domainColor": "#8a929c", "tickColor": "#8a929c", "tickSize": 4,
            "gridColor": FAINT,
        },
        "axisX": {"grid": False, "labelFlush": False},
        # The y title stands level above the axis: nobody tilts a phone to read it, and it costs no width.
        "axisY": {
            "domain": False, "ticks": False,
            "titleAngle": 0, "titleAlign": "left", "titleBaseline": "bottom", "titleX": 0, "titleY": -9,
        },
        "axisYDiscrete": {"grid": False},
        # Under the picture: above it the y axis's title would stand among its entries.
        "legend": {
            "orient": "bottom", "direction": "horizontal", "titleOrient": "left", "offset": 12, "padding": 0,
            "labelLimit": 320,
            "labelColor": INK, "labelFontSize": 13, "titleColor": MUTED, "titleFontSize": 13,
            "titleFontWeight": "normal", "symbolSize": 90, "symbolStrokeWidth": 2.5, "columnPadding": 12,
            "clipHeight": 14, "symbolOpacity": 1,
        },
        "range": {"category": list(CATEGORY_COLOURS)},
        "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
        # A thousand marks read out one by one help nobody: the page gives each figure a sentence and a table.
        "aria": False,
    }  # fmt: skip
