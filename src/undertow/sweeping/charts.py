"""The charts of a sweep's page: the reader chooses settings, result and filters, and the browser regroups the cells."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

from undertow.render.axes import charted, layered
from undertow.render.rows import grouped, plain
from undertow.render.theme import CATEGORY_COLOURS, INK
from undertow.sweeping.query import Row

MOST_CHOICES = 40
"""A setting with more values than this gets no filter: nobody finds one in so long a list."""

ALL = "all"
NONE = "none"

Axes = Mapping[str, Sequence[Any]]


def field(rows: Sequence[Row], axes: Axes, measured: Sequence[str]) -> alt.LayerChart:
    """Draw a result over two settings, both of the reader's choice, as a field of colours; the rest is averaged over.

    Args:
        rows: one for each cell.
        axes: settings and their values; at least two.
        measured: results to choose from.

    Example:
        >>> rows = [{"depth": d, "eta": e, "accuracy": d * e} for d in (1, 2) for e in (0.1, 0.2)]
        >>> chart = field(rows, {"depth": [1, 2], "eta": [0.1, 0.2]}, ["accuracy"])
        >>> [p.name for p in chart.params][:4]
        ['sweep_x', 'sweep_y', 'sweep_value', 'sweep_only_0']
    """
    across, down = longest(axes)[:2]
    choices = [_choice("x", "across", list(axes), across), _choice("y", "upwards", list(axes), down)]
    choices += [_choice("value", "result", measured, measured[0]), *_filters(axes)]
    kept = (
        charted(plain(rows))
        .transform_filter(_passes(axes))
        .transform_calculate(x="datum[sweep_x]", y="datum[sweep_y]", v="+datum[sweep_value]")
        .transform_filter("isValid(datum.v)")
        .transform_aggregate(mean="mean(v)", low="min(v)", high="max(v)", cells="count()", groupby=["x", "y"])
    )
    cells = kept.mark_rect(stroke="white", strokeWidth=1).encode(
        x=alt.X("x:O", title=" ", axis=alt.Axis(labelAngle=0, labelOverlap=True, titlePadding=14)),
        y=alt.Y("y:O", title=" ", sort="descending"),
        color=alt.Color(
            "mean:Q",
            scale=alt.Scale(scheme="tealblues"),
            legend=alt.Legend(title=None, gradientLength=180, gradientThickness=10, format="~g", tickCount=4),
        ),
        tooltip=[alt.Tooltip(f"{n}:N", title=t) for n, t in (("x", "across"), ("y", "upwards"))] + _tooltips(),
    )
    shown = cells.add_params(*choices)
    titles = [_title("sweep_x", {"expr": "width / 2"}, {"expr": "height + 40"}, "center")]
    titles.append(_title("sweep_y", {"value": 0}, {"value": -12}, "left"))
    titles.append(_title("sweep_value", {"expr": "width"}, {"value": -12}, "right"))
    return layered([shown, *titles], "", 340)


def curves(rows: Sequence[Row], axes: Axes, measured: Sequence[str]) -> alt.LayerChart:
    """Draw a result along one setting: a line for each value of another, a band from the least to the greatest cell.

    Args:
        rows: one for each cell.
        axes: settings and their values.
        measured: results to choose from.
    """
    along = longest(axes)
    choices = [_choice("x", "along", list(axes), along[0])]
    choices.append(_choice("by", "a line for each", [NONE, *axes], along[1] if len(along) > 1 else NONE))
    choices += [_choice("value", "result", measured, measured[0]), *_filters(axes)]
    kept = (
        charted(plain(rows))
        .transform_filter(_passes(axes))
        .transform_calculate(
            x="datum[sweep_x]", by=f"sweep_by === '{NONE}' ? '' : datum[sweep_by]", v="+datum[sweep_value]"
        )
        .transform_filter("isValid(datum.v)")
        .transform_aggregate(mean="mean(v)", low="min(v)", high="max(v)", cells="count()", groupby=["x", "by"])
    )
    ramp = alt.Scale(scheme="viridis") if _many(axes) else alt.Scale(range=list(CATEGORY_COLOURS))
    colour = alt.Color("by:O", scale=ramp, legend=alt.Legend(title=None))
    x = alt.X("x:O", title=" ", axis=alt.Axis(labelAngle=0, labelOverlap=True, titlePadding=14))
    y = alt.Y("mean:Q", title=" ", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    band = kept.mark_area(opacity=0.12).encode(x=x, y=alt.Y("low:Q", title=" "), y2="high:Q", color=colour)
    lines = kept.mark_line(point=alt.OverlayMarkDef(size=28, filled=True)).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[alt.Tooltip("x:N", title="along"), alt.Tooltip("by:N", title="line"), *_tooltips()],
    )
    titles = [_title("sweep_x", {"expr": "width / 2"}, {"expr": "height + 40"}, "center")]
    titles.append(_title("sweep_value", {"value": 0}, {"value": -12}, "left"))
    return layered([band.add_params(*choices), lines, *titles], "", 300)


def longest(axes: Axes) -> list[str]:
    """Settings by how many values they have, most first; seeds last, which nobody wants to see along an axis.

    Example:
        >>> longest({"seed": [0, 1, 2, 3], "depth": [1, 2], "eta": [0.1, 0.2, 0.3]})
        ['eta', 'depth', 'seed']
    """
    return sorted(axes, key=lambda name: (name == "seed", -len(axes[name])))


def averaged(rows: Sequence[Row], by: Sequence[str], measured: Sequence[str]) -> list[Row]:
    """Means of the measured over rows that agree in ``by``; None where none has a number.

    Example:
        >>> averaged([{"depth": 1, "a": 0.1}, {"depth": 1, "a": 0.3}], ["depth"], ["a"])
        [{'depth': 1, 'a': 0.2}]
    """
    means = []
    for key, group in grouped(rows, by).items():
        there = {name: [row[name] for row in group if isinstance(row[name], int | float)] for name in measured}
        mean = {name: statistics.fmean(found) if found else None for name, found in there.items()}
        means.append({**dict(zip(by, key, strict=True)), **mean})
    return means


def value(given: Any) -> Any:
    """Return a cell's value as a chart takes it: true and false as 1 and 0, lists as text.

    Example:
        >>> value(True), value([30, 30]), value(0.5)
        (1, '[30, 30]', 0.5)
    """
    if isinstance(given, bool):
        return int(given)
    return str(given) if isinstance(given, list) else given


def _many(axes: Axes) -> bool:
    return max(len(values) for name, values in axes.items()) > len(CATEGORY_COLOURS)


def _choice(name: str, title: str, options: Sequence[str], chosen: str) -> alt.Parameter:
    return alt.param(f"sweep_{name}", value=chosen, bind=alt.binding_select(options=list(options), name=f"{title} "))


def _filters(axes: Axes) -> list[alt.Parameter]:
    return [
        alt.param(
            f"sweep_only_{i}",
            value=None,
            bind=alt.binding_select(
                options=[None, *map(value, values)], labels=[ALL, *map(str, values)], name=f"only {name} "
            ),
        )
        for i, (name, values) in enumerate(axes.items())
        if len(values) <= MOST_CHOICES
    ]


def _passes(axes: Axes) -> str:
    tests = [
        f"(sweep_only_{i} === null || datum[{json.dumps(name)}] === sweep_only_{i})"
        for i, (name, values) in enumerate(axes.items())
        if len(values) <= MOST_CHOICES
    ]
    return " && ".join(tests) or "true"


def _tooltips() -> list[alt.Tooltip]:
    numbers = (("mean", "mean"), ("low", "least"), ("high", "greatest"))
    quantities = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    return [*quantities, alt.Tooltip("cells:Q", title="cells")]


def _title(name: str, x: dict[str, Any], y: dict[str, Any], align: Literal["left", "center", "right"]) -> alt.Chart:
    """Write what the reader has chosen, where a title stands: Vega-Lite's own can't follow a choice."""
    mark = alt.MarkDef(
        "text", align=align, baseline="bottom", fontSize=13, color=INK, text=alt.ExprRef(name),
        x=alt.ExprRef(x["expr"]) if "expr" in x else x["value"],
        y=alt.ExprRef(y["expr"]) if "expr" in y else y["value"],
    )  # fmt: skip
    chart = charted([{}])
    chart.mark = mark
    return chart
