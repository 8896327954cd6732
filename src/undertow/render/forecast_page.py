"""Render a forecast as a page and as a chart."""

import math

import altair as alt

from undertow.formatting import LARGEST_DECADES
from undertow.render import page
from undertow.render.causes import signed_decades
from undertow.render.charts import curves_with_bands
from undertow.render.forecast import headings, layer_rows, summary, title
from undertow.render.forecast_verdict import outcome
from undertow.theory.forecasting import Forecast


def article(forecast: Forecast) -> page.Article:
    """Return a forecast as a page: the verdict, the chart, what holds deep inside, and every layer's numbers."""
    found = outcome(forecast)
    advice: list[page.Block] = [page.Prose(found.advice)] if found.advice else []
    snippet: list[page.Block] = [page.Snippet(found.snippet)] if found.snippet else []
    return page.Article(
        f"Theory expects: {found.words}",
        subtitle=title(forecast),
        lead=found.sentence,
        tone=found.tone,
        answer=[*advice, *snippet],
        lively=False,
        sections=[
            page.Section(
                "gradient",
                "The gradient’s way back, layer by layer",
                [
                    page.Figure(
                        "norms",
                        chart(forecast, titled=False),
                        _title(forecast),
                        _caption(forecast),
                        page.Table(headings(forecast), layer_rows(forecast)[::-1]),
                    ),
                    page.Table(
                        ["quantity", "value", "meaning"], summary(forecast), "Deep inside the network", "inside"
                    ),
                ],
            )
        ],
    )


def chart(forecast: Forecast, height: int = 300, titled: bool = True) -> alt.LayerChart:
    """Draw the expected ||δ^l|| relative to the last layer's, layer by layer, with the band of 95 % of networks.

    The loss is on the left, as where a measured gradient's way back is drawn.
    """
    wide, (low, high) = not math.isfinite(forecast.width), forecast.interval()
    rows = [
        {
            "place": l + 1,
            "norm": _plotted(forecast.layers.decades[l]),
            "low": _plotted(low[l]),
            "high": _plotted(high[l]),
            "of": "expected" if wide else "expected; 95\u00a0% of networks",
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
        x_title="layers, from the loss to the input",
        reverse_x=True,
        y_title="norm of the gradient, relative to the last layer",
        band_title="95 % of networks",
        title=title(forecast) if titled else "",
        height=height,
    )


def _title(forecast: Forecast) -> str:
    change = signed_decades(float(forecast.layers.decades[0]))
    return f"From the last layer to the first the gradient is expected to change by {change} decades"


def _caption(forecast: Forecast) -> str:
    if math.isinf(forecast.width):
        return "Root mean square over random networks, infinitely wide."
    return f"Root mean square over random networks, and where 95 % of those {forecast.width:g} units wide fall."


def _plotted(decades: float) -> float | None:
    return float(10.0**decades) if decades > -LARGEST_DECADES else None
