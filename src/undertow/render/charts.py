"""The kinds of charts that studies share: each takes rows and returns one altair chart.

Rows are mappings, one for each observation (``[{"epoch": 0, "layer": 1, "speed": 0.07}, ...]``); NumPy scalars are
welcome, what isn't finite becomes a gap, floats keep five digits. A field named ``layer`` (numbers from 1) is coloured
by layer, and its marks fade when the reader chooses another. No chart here sets its width: a page or a file does.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from undertow.render.axes import Domain, charted, coloured, layered, measured, tooltip
from undertow.render.rows import Row, Rows, column, grouped, number, plain, thinned
from undertow.render.theme import INK, MUTED, highlight

IN_LINES = "split(replace(replace(datum.label, ' + ', '|+ '), regexp('([a-z])([A-Z])'), '$1|$2'), '|')"
"""The name of a field's column, "residual + norm" and "BatchNorm" in two lines: a phone has no room for one."""

SIGNED = "replace(datum.label, regexp('^-(?=[0-9.])'), '\u2212')"
"""A name that is a number, with a true minus sign."""

POINTED_AT = 40
"""So many points of a curve answer to the pointer."""


def curves_with_bands(
    rows: Rows,
    *,
    x: str,
    y: str,
    x_title: str,
    y_title: str,
    low: str | None = None,
    high: str | None = None,
    band_title: str = "band",
    colour: str = "layer",
    dash: str | None = None,
    reference: Rows = (),
    reference_title: str = "the book",
    log_x: bool = False,
    log_y: bool = True,
    reverse_x: bool = False,
    y_domain: Domain | None = None,
    title: str = "",
    height: int = 260,
    points: int = 250,
) -> alt.LayerChart:
    """A curve for each value of ``colour`` (and ``dash``), the band from ``low`` to ``high`` behind it.

    The nearest point of a curve answers to the pointer with its numbers; a click on it chooses its layer.

    Args:
        rows: one for each x and curve.
        x, y, low, high, colour, dash: fields of the rows.
        x_title, y_title: what the axes measure, with units.
        band_title: what lies between ``low`` and ``high``, for the tooltip ("95 % of 8 members").
        reference: rows (with the same ``x``, ``y`` and ``colour``) to lay over the curves as dotted lines.
        reference_title: what these are, for the legend.
        log_x, log_y: logarithmic axes; values that aren't positive become gaps.
        reverse_x: the largest x on the left, as layers stand where the gradient's way back is followed.
        y_domain: ends of the y axis, to give several panels the same; by default what the rows span.
        title: of this panel.
        height: of the plotting area, pixels.
        points: most points of a drawn curve; longer ones are thinned evenly (250 lose nothing that can be seen).

    Example:
        >>> chart = curves_with_bands(
        ...     [{"epoch": e, "layer": 1, "speed": 0.5**e} for e in range(4)],
        ...     x="epoch", y="speed", x_title="epoch", y_title="speed of learning")
        >>> [part.to_dict()["mark"]["type"] for part in chart.layer]
        ['line', 'point']
    """
    fields = [field for field in (y, low, high) if field]
    positive = fields if log_y else []
    drawable = [row for row in rows if not log_x or row[x] > 0]
    table = thinned(plain(drawable, positive), [colour, dash], points)
    dotted = thinned(plain(reference, positive[:1]), [colour], points)
    scaled = measured(column([*table, *dotted], *fields), y_domain, log_y)
    shared: dict[str, Any] = {
        "x": alt.X(field=x, type="quantitative", title=x_title, **_along(column(table, x), log_x, reverse_x)),
        "y": alt.Y(field=y, type="quantitative", title=y_title, **scaled),
        "color": coloured(colour, table, beside=reference_title if dotted else ""),
        "detail": [alt.Detail(field=field, type="nominal") for field in (colour, dash) if field],
    }
    curves = charted(table).encode(**shared)
    parts = [curves.mark_line().encode(opacity=highlight(), **_dashed(dash))]
    if low and high:
        span = {"y": alt.Y(field=low, type="quantitative", title=y_title, **scaled), "y2": alt.Y2(field=high)}
        parts.insert(0, curves.mark_area().encode(opacity=highlight(0.2, 0.03), **span))
    if dotted:
        parts.append(_dotted(dotted, shared, reference_title))
    titles = {x: x_title, colour: colour, **({dash: dash} if dash else {}), y: y_title}
    pointed = thinned([row for row in table if row[y] is not None], [colour, dash], POINTED_AT)
    bands = {band_title: [low, high]} if low and high else {}
    parts.append(nearest_point([{**row, "lines": _lines(row, titles, bands)} for row in pointed], shared))
    return layered(parts, title, height)


def bars(
    rows: Rows,
    *,
    x: str,
    y: str,
    x_title: str,
    y_title: str,
    colour: str | None = None,
    stacked: bool = False,
    y_domain: Domain | None = None,
    title: str = "",
    height: int = 200,
) -> alt.LayerChart:
    """Bars from zero, up or down; those of different ``colour`` side by side within an ``x``, or ``stacked``.

    Example:
        >>> chart = bars([{"neuron": 1, "layer": 1, "gradient": -0.004}], x="neuron", y="gradient", colour="layer",
        ...              x_title="neuron", y_title="∂C/∂b")
        >>> chart.layer[0].to_dict()["mark"]["type"]
        'bar'
    """
    table = plain(rows)
    encoding: dict[str, Any] = {
        "x": alt.X(field=x, type="ordinal", title=x_title, sort=None, axis=alt.Axis(labelAngle=0)),
        "y": alt.Y(field=y, type="quantitative", title=y_title, stack=stacked, **measured((), y_domain)),
        "tooltip": tooltip({x: x_title, **({colour: colour} if colour else {}), y: y_title}, table),
    }
    if colour:
        encoding["color"] = coloured(colour, table)
        if len(grouped(table, [colour])) > 1 and not stacked and colour != x:
            encoding["xOffset"] = alt.XOffset(field=colour, type="ordinal", sort=None)
    drawn = charted(table).mark_bar(color=MUTED).encode(opacity=highlight(), **encoding)
    zero = charted([{}]).mark_rule(color="#8a929c").encode(y=alt.YDatum(0))
    return layered([drawn, zero], title, height)


def histogram(
    rows: Rows,
    *,
    value: str,
    x_title: str,
    y_title: str = "count",
    colour: str | None = None,
    bins: int = 40,
    log_x: bool = False,
    reference: Sequence[float] = (),
    title: str = "",
    height: int = 200,
) -> alt.LayerChart:
    """Show how often each size of ``value`` occurs; groups distinguished by ``colour`` share the bins and overlap.

    Args:
        rows: one for each observation; they are counted here, and only the counts go into the chart.
        value, colour: fields of the rows.
        x_title, y_title: what the axes measure, with units.
        bins: how many.
        log_x: bins of equal width on a logarithmic axis; values that aren't positive are left out.
        reference: values to mark by a broken line.
        title: of this panel.
        height: of the plotting area, pixels.

    Example:
        >>> chart = histogram([{"gain": g / 10} for g in range(10)], value="gain", x_title="gain", bins=5)
        >>> [row["count"] for row in chart.data.values]
        [2, 2, 2, 2, 2]
    """
    table = [row for row in plain(rows, [value] if log_x else ()) if row[value] is not None]
    counted = _counted(table, value, colour, bins, log_x)
    span = [*column(counted, "from", "to"), *reference]
    encoding: dict[str, Any] = {
        "x": alt.X(field="from", type="quantitative", title=x_title, **measured(span, log=log_x)),
        "x2": alt.X2(field="to"),
        "y": alt.Y(field="count", type="quantitative", title=y_title, axis=alt.Axis(tickCount=4)),
        "y2": alt.Y2Datum(0),
        "tooltip": tooltip({"from": "from", "to": "to", "count": y_title}, counted),
    }
    cells = charted(counted).mark_rect(color=MUTED).encode(**encoding)
    parts = [cells]
    if colour:
        outline = {"color": coloured(colour, counted), "x": encoding["x"], "y": encoding["y"]}
        ends = [{**group[-1], "from": group[-1]["to"], "count": 0} for group in grouped(counted, [colour]).values()]
        stairs = charted(counted + ends).mark_line(interpolate="step-after").encode(opacity=highlight(), **outline)
        parts = [cells.encode(color=outline["color"], opacity=highlight(0.15, 0.02)), stairs]
    if reference:
        marked = charted(plain({"value": v} for v in reference)).mark_rule(color=INK, strokeDash=[4, 3])
        parts.append(marked.encode(x=alt.X(field="value", type="quantitative")))
    return layered(parts, title, height)


def heatmap(
    rows: Rows,
    *,
    x: str,
    y: str,
    value: str,
    x_title: str,
    y_title: str,
    value_title: str,
    centre: float | None = None,
    log: bool = False,
    labels: bool = False,
    title: str = "",
    height: int = 260,
) -> alt.LayerChart:
    """A field of coloured cells: pale to dark, or blue to orange about ``centre``. The first y is at the bottom.

    Args:
        rows: one for each cell.
        x, y, value: fields of the rows.
        x_title, y_title, value_title: what they measure, with units.
        centre: the value without colour where both signs matter; None where only size does.
        log: colour by the logarithm.
        labels: write the numbers into the cells, where they are few; in place of a legend, and no name is left out.
        title: of this panel.
        height: of the plotting area, pixels.

    Example:
        >>> chart = heatmap([{"width": 1, "depth": 1, "gain": 0.5}], x="width", y="depth", value="gain",
        ...                 x_title="width", y_title="depth", value_title="gain")
        >>> chart.layer[0].to_dict()["mark"]["type"]
        'rect'
    """
    table = plain(rows, [value] if log else ())
    for row in table:
        row["label"] = "" if row[value] is None else number(row[value])
    upwards = list(dict.fromkeys(row[y] for row in table))[::-1]
    scale = alt.Scale(scheme="tealblues", type="log" if log else "linear")
    if centre is not None:
        reach = max((abs(v - centre) for v in column(table, value)), default=0) or 1.0
        scale = alt.Scale(scheme="blueorange", domain=[centre - reach, centre + reach])
    legend = alt.Legend(gradientLength=110, gradientThickness=10, format="~g", title=value_title, tickCount=4)
    names = (
        alt.Axis(labelAngle=0, labelOverlap=False, labelExpr=IN_LINES)
        if labels
        else alt.Axis(labelAngle=0, labelOverlap=True, labelExpr=SIGNED)
    )
    cells = charted(table).encode(
        x=alt.X(field=x, type="ordinal", title=x_title, sort=None, axis=names),
        y=alt.Y(
            field=y, type="ordinal", title=y_title, sort=upwards, axis=alt.Axis(labelOverlap=True, labelExpr=SIGNED)
        ),
        tooltip=tooltip({x: x_title, y: y_title, value: value_title}, table),
    )
    filled = alt.Color(field=value, type="quantitative", scale=scale, legend=None if labels else legend)
    parts = [cells.mark_rect(stroke="white", strokeWidth=1).encode(color=filled)]
    if labels:
        text = cells.mark_text(fontSize=11, color=INK).encode(text=alt.Text(field="label", type="nominal"))
        halo = {"stroke": "white", "strokeWidth": 3, "strokeJoin": "round", "opacity": 0.85}
        parts += [text.copy().mark_text(fontSize=11, **halo), text]
    return layered(parts, title, height)


def _along(values: Sequence[float], log: bool, reverse: bool = False) -> dict[str, Any]:
    if log:
        return measured(values, log=True)
    scale = alt.Scale(nice=False, zero=False, reverse=True) if reverse else alt.Scale(nice=False, zero=False)
    return {"scale": scale, "axis": alt.Axis(tickCount=6, **_whole(values))}


def _whole(values: Iterable[float]) -> dict[str, Any]:
    """No ticks between whole numbers, where nothing is measured."""
    return {"tickMinStep": 1} if all(float(v).is_integer() for v in values) else {}


def _counted(table: Sequence[Row], value: str, colour: str | None, bins: int, log: bool) -> list[dict[str, Any]]:
    values = column(table, value)
    edges = (np.geomspace if log else np.linspace)(min(values), max(values), bins + 1)
    rows: list[dict[str, Any]] = []
    for key, group in grouped(table, [colour]).items():
        counts = np.histogram(column(group, value), edges)[0]
        named = {colour: key[0]} if colour else {}
        spans = zip(edges, edges[1:], counts, strict=False)
        rows += [{"from": a, "to": b, "count": c, **named} for a, b, c in spans]
    return plain(rows)


def _dashed(field: str | None) -> dict[str, Any]:
    if not field:
        return {}
    scale = alt.Scale(range=[[1, 0], [6, 4], [2, 3]])
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=300)
    return {"strokeDash": alt.StrokeDash(field=field, type="nominal", sort=None, scale=scale, legend=legend)}


def _dotted(table: Sequence[Row], shared: Mapping[str, Any], title: str) -> alt.Chart:
    legend = alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolStrokeColor=INK)
    pattern = alt.Scale(domain=[title], range=[[2, 3]])
    named = alt.StrokeDash(field="source", type="nominal", scale=pattern, legend=legend)
    placed = {channel: shared[channel] for channel in ("x", "y", "detail")}
    return (
        charted([{**row, "source": title} for row in table])
        .mark_line(color=INK, strokeWidth=1.5)
        .encode(strokeDash=named, opacity=highlight(), **placed)
    )


def nearest_point(table: Sequence[Row], shared: Mapping[str, Any]) -> alt.Chart:
    """Points that show themselves, with their ``lines`` in a tooltip, to a pointer near them.

    Args:
        table: rows; each has a mapping ``lines``, title -> text.
        shared: channels; ``x``, ``y`` and ``color`` are taken.
    """
    near = alt.selection_point(nearest=True, on="pointerover", clear="pointerout")
    shown = alt.OpacityValue(0, condition={"param": near.name, "empty": False, "value": 1})
    # The pointer meets the cell around a point, whose datum is the point. Vega-Lite's own tooltips there lose text.
    lines = alt.ExprRef("(datum.datum || datum).lines")
    drawn = charted(table).mark_point(filled=True, size=60, tooltip=lines)
    return drawn.encode(opacity=shown, **{c: shared[c] for c in ("x", "y", "color")}).add_params(near)


def _lines(row: Row, titles: Mapping[str, str], band: Mapping[str, Sequence[str]]) -> dict[str, str]:
    values = {title: row[field] for field, title in titles.items()}
    lines = {title: number(value) if isinstance(value, float) else str(value) for title, value in values.items()}
    for title, fields in band.items():
        ends = [number(row[field]) for field in fields if row[field] is not None]
        lines[title] = " to ".join(ends)
    return lines
