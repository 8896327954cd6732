"""Every member as a dot: the shape of a distribution, its middle, and where one published number falls in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from undertow.render.axes import Domain, charted, coloured, layered, measured, tooltip
from undertow.render.rows import Row, Rows, column, grouped, plain
from undertow.render.theme import INK, MUTED, highlight


def dots_with_interval(
    rows: Rows,
    *,
    value: str,
    group: str,
    value_title: str,
    group_title: str,
    interval: float = 0.95,
    reference: Rows = (),
    reference_title: str = "the book",
    log_x: bool = False,
    x_domain: Domain | None = None,
    details: Mapping[str, str] | None = None,
    title: str = "",
    row_height: int = 58,
) -> alt.LayerChart:
    """Every observation as a dot, a row of dots for each ``group``, with median and central interval under them.

    Args:
        rows: one for each observation.
        value, group: fields of the rows; where ``group`` is ``layer`` the dots have its colour.
        value_title, group_title: what the axes measure, with units.
        interval: share of the observations that the bar spans.
        reference: rows (with ``value`` and ``group``) to mark by a diamond.
        reference_title: what these are, for the legend.
        log_x: a logarithmic axis; values that aren't positive are left out.
        x_domain: ends of the value axis.
        details: further fields for the tooltip, field -> title.
        title: of this panel.
        row_height: of each group, pixels.

    Example:
        >>> chart = dots_with_interval([{"layer": 1, "speed": s / 10} for s in range(1, 6)], value="speed",
        ...     group="layer", value_title="speed", group_title="layer")
        >>> chart.layer[2].data.values
        [{'layer': 1, 'median': 0.3, 'low': 0.11, 'high': 0.49, 'observations': 5}]
    """
    table = [row for row in plain(rows, [value] if log_x else ()) if row[value] is not None]
    groups = grouped(table, [group])
    marked = plain(reference)
    scaled = measured(column([*table, *marked], value), x_domain, log_x)
    if not log_x and not x_domain:
        scaled["scale"] = alt.Scale(zero=False, nice=False, padding=8)

    def place(field: str) -> dict[str, Any]:
        along = alt.X(field=field, type="quantitative", title=value_title, **scaled)
        return {"x": along, "y": alt.Y(field=group, type="ordinal", title=group_title, sort=None)}

    shown = {group: group_title, value: value_title, **(details or {})}
    dots = (
        charted([dot for rows in groups.values() for dot in _spread(rows, value, log_x)])
        .mark_circle(size=16 if len(table) > 40 * len(groups) else 60, color=MUTED)
        .encode(
            **place(value),
            yOffset=alt.YOffset(field="offset", type="quantitative", scale=alt.Scale(domain=[-1, 1.5])),
            opacity=highlight(0.55, 0.06),
            tooltip=tooltip(shown, table),
        )
    )
    if group == "layer":
        dots = dots.encode(color=coloured(group, table, legend=False))
    ends = (1 - interval) / 2, (1 + interval) / 2
    spans = [{group: key[0], **_span(column(rows, value), ends)} for key, rows in groups.items()]
    counted = {"median": f"median {value_title}", "low": f"{ends[0]:.1%}", "high": f"{ends[1]:.1%}"}
    lines = tooltip({group: group_title, **counted, "observations": "observations"}, spans)
    under = charted(spans).encode(yOffset=alt.YOffsetDatum(1.25), tooltip=lines)
    parts = [
        dots,
        under.mark_rule(color=INK, strokeWidth=1.5).encode(**place("low"), x2=alt.X2(field="high")),
        under.mark_point(color=INK, shape="stroke", angle=90, size=120, strokeWidth=3, opacity=1).encode(
            **place("median")
        ),
    ]
    if marked:
        parts.append(_diamonds(marked, reference_title).encode(**place(value), tooltip=tooltip(shown, table)))
    return layered(parts, title, row_height * len(groups))


def _spread(rows: Sequence[Row], value: str, log: bool) -> list[dict[str, Any]]:
    """Dots side by side where they crowd: offsets as wide as the values are dense (a violin made of its dots)."""
    places = np.array(column(rows, value), dtype=float)
    places = np.log(places) if log else places
    bins = min(
        100, max(3, round(4 * float(np.ptp(places)) / (float(np.std(places)) or 1.0)))
    )  # 3: the smoother's width
    counts, edges = np.histogram(places, bins)
    smoothed = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    density = np.interp(places, (edges[:-1] + edges[1:]) / 2, smoothed)
    golden = (np.arange(1, len(places) + 1) * 0.6180339887498949) % 1 * 2 - 1
    offsets = golden * density / density.max() * min(1.0, len(places) / 40)
    return [{**row, "offset": round(float(o), 2)} for row, o in zip(rows, offsets, strict=True)]


def _span(values: Sequence[float], ends: tuple[float, float]) -> dict[str, Any]:
    middle, low, high = np.quantile(values, [0.5, *ends])
    return plain([{"median": middle, "low": low, "high": high, "observations": len(values)}])[0]


def _diamonds(table: Sequence[Row], title: str) -> alt.Chart:
    legend = alt.Legend(title=None, symbolFillColor=INK)
    only = alt.Scale(domain=[title], range=["diamond"])
    shape = alt.Shape(field="source", type="nominal", scale=only, legend=legend)
    drawn = charted([{**row, "source": title} for row in table]).mark_point(
        size=120, fill=INK, stroke="white", strokeWidth=1.5, opacity=1
    )
    return drawn.encode(yOffset=alt.YOffsetDatum(0), shape=shape, opacity=highlight())
