"""Median and range over networks, as rows for a chart and as curves with bands."""

from collections.abc import Iterable
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike

from undertow.render.charts import curves_with_bands


def layer_curves(values: ArrayLike, steps: Iterable[Any], x: str, y: str) -> list[dict[str, Any]]:
    """Make a curve for each layer: the median over networks, with their range as ``low`` and ``high``.

    Args:
        values: [networks, steps, layers].
        steps: where each of the second axis lies on the x axis.
        x, y: fields to write them to.

    Example:
        >>> layer_curves([[[1.0]], [[2.0]], [[6.0]]], steps=[0], x="epoch", y="speed")
        [{'epoch': 0, 'layer': 1, 'speed': 2.0, 'low': 1.0, 'high': 6.0}]
    """
    found = np.asarray(values, float)
    bands = np.stack([np.median(found, 0), found.min(0), found.max(0)], -1).tolist()
    return [
        {x: step, "layer": l, y: middle, "low": low, "high": high}
        for step, layers in zip(steps, bands, strict=True)
        for l, (middle, low, high) in enumerate(layers, 1)
    ]


def member_curve(values: ArrayLike, steps: Iterable[Any], x: str, y: str, **named: Any) -> list[dict[str, Any]]:
    """Make one curve: the median over networks, with their range as ``low`` and ``high``.

    Args:
        values: [networks, steps].
        steps: where each of the second axis lies on the x axis.
        x, y: fields to write them to.
        named: further fields that all rows get, to tell the curve from others.

    Example:
        >>> member_curve([[1.0], [2.0], [6.0]], steps=[0], x="epoch", y="error", network="tanh")
        [{'epoch': 0, 'error': 2.0, 'low': 1.0, 'high': 6.0, 'network': 'tanh'}]
    """
    found = np.asarray(values, float)
    bands = zip(steps, np.median(found, 0).tolist(), found.min(0).tolist(), found.max(0).tolist(), strict=True)
    return [{x: step, y: middle, "low": low, "high": high, **named} for step, middle, low, high in bands]


def banded(rows: Iterable[dict[str, Any]], x: str, y: str, **given: Any) -> alt.LayerChart:
    """Draw rows of `layer_curves` or `member_curve`, the range of all networks as a band behind each curve.

    Args:
        rows: with ``low`` and ``high``.
        x, y: fields of the rows.
        given: as `undertow.render.charts.curves_with_bands` takes it.
    """
    return curves_with_bands(list(rows), x=x, y=y, low="low", high="high", **{"band_title": "all networks", **given})
