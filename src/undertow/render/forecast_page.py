"""Render a forecast as a page and as a chart."""

import math

import altair as alt

from undertow.formatting import LARGEST_DECADES
from undertow.render import page
from undertow.render.charts import curves_with_bands
from undertow.render.forecast import headings, layer_rows, summary, title
from undertow.theory.forecasting import Forecast


def article(forecast: Forecast) -> page.Article:
    """Return a forecast as a page: chart, what holds deep inside, and every layer's numbers."""
    return page.Article(
        "What theory expects",
        subtitle=title(forecast),
        sections=[
            page.Section(
                "gradient",
                "The gradient, layer by layer",
                [
                    page.Figure(
                        "norms",
                        chart(forecast),
                        "The gradient on its way back",
                        _caption(forecast),
                        page.Table(headings(forecast), layer_rows(forecast)),
                    ),
                    page.Table(["", "", ""], summary(forecast), "Deep inside the network", "inside"),
                ],
            )
        ],
    )


def chart(forecast: Forecast, height: int = 300) -> alt.LayerChart:
    """Draw the expected ||δ^l|| relative to the last layer's, layer by layer, with the band of 95 % of networks."""
    wide, (low, high) = not math.isfinite(forecast.width), forecast.interval()
    rows = [
        {
            "place": l + 1,
            "norm": _plotted(forecast.layers.decades[l]),
            "low": _plotted(low[l]),
            "high": _plotted(high[l]),
            "of": "expected" if wide else "expected, and 95 % of networks",
        }
        for l in range(forecast.depth)
    ]
    return curves_with_bands(
        rows,
        x="place",
        y="norm",
        low=None if wide else "low",
        high=None if wide else "high",
        colour="of",
        x_title="layer",
        y_title="norm of the gradient, relative to the last layer",
        band_title="95 % of networks",
        title=title(forecast),
        height=height,
    )


def _caption(forecast: Forecast) -> str:
    if math.isinf(forecast.width):
        return "Root mean square over random networks, infinitely wide."
    return f"Root mean square over random networks, and where 95 % of those {forecast.width:g} units wide fall."


def _plotted(decades: float) -> float | None:
    return float(10.0**decades) if decades > -LARGEST_DECADES else None
