"""Charts of one pass: the gradient's way back from the loss, and what made it larger or smaller on the way."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from undertow.analysis.gradient_path import GradientPath
from undertow.analysis.theory_check import SegmentPrediction, TheoryCheck
from undertow.record import BackwardGain
from undertow.render.axes import charted, layered, measured
from undertow.render.charts import nearest_point
from undertow.render.rows import MINUS, plain, thinned
from undertow.render.segments import Segment, names, segments
from undertow.render.terminal_report import number
from undertow.render.theme import CATEGORY_COLOURS, INK, MUTED

MOST_NAMES = 12
MOST_POINTED_AT = 400
LEAST_SPAN = 1.5
"""Decades that the axis of a gradient spans at least: a healthy network shall look as flat as it is."""

TWO_DEVIATIONS = 1.96

MOST_BARS = 40
BAR_STEP = 22
LEAST_REACH = 0.3
"""Decades to either side that bars have room for at least, so that a few hundredths look like what they are."""

MOST_CAUSES = 5
ELIDED_TO = 22
OTHER, UNATTRIBUTED = "other causes", "unattributed"
COLOURS = {
    **dict(zip(("activation", "weights", "normalisation", "join", "attention"), CATEGORY_COLOURS, strict=True)),
    "embedding": "#7a8b00", "concatenation": "#8f4bb8", "pooling": "#00889a", "selection": "#a08a5b",
    "gating": "#b03060", "scaling": "#3d5a80", "loss": "#7f4f24", "other": "#77808c",
    OTHER: "#77808c", UNATTRIBUTED: "#c3c9d1",
}  # fmt: skip
"""A cause keeps its colour on every page."""


def way_back(
    gradient_path: GradientPath,
    gains: Sequence[BackwardGain],
    title: str = "",
    height: int = 280,
    theory: TheoryCheck | None = None,
) -> alt.LayerChart:
    """Draw the gradient's norm at every waypoint, the loss on the left; points tell the factors that follow.

    Args:
        gradient_path: of the step to show; with two waypoints or more.
        gains: its blocks.
        title: of the chart.
        height: of the plotting area, pixels.
        theory: of the same step; drawn beside, dashed, with a band that holds 95 % of networks of these widths.
    """
    rows = plain(_levels(gradient_path, gains), ["gradient"])
    beside = plain(_expected(gradient_path, theory or TheoryCheck()), ["expected", "low", "high"])
    beside = [row for row in beside if row["expected"] is not None]
    values = [row["gradient"] for row in rows if row["gradient"] is not None] + [row["expected"] for row in beside]
    step = max(1, math.ceil(len(rows) / MOST_NAMES))
    named = [row["name"] for row in rows]
    shared: dict[str, Any] = {
        "x": alt.X(
            field="place",
            type="quantitative",
            title="layers and joins, from the loss to the front",
            scale=alt.Scale(domain=[-0.3, len(rows) - 0.7], nice=False),
            axis=_named(named, step, **_tilted(named)),
        ),
        "y": alt.Y(
            field="gradient",
            type="quantitative",
            title="norm of the gradient",
            **measured(values, _span(values), log=True),
        ),
        "color": alt.ColorValue(CATEGORY_COLOURS[0]),
    }
    drawn = charted([{key: row[key] for key in ("place", "gradient")} for row in rows])
    parts = [*_band(beside, shared), drawn.mark_line().encode(**shared)]
    if len(rows) <= 100:
        parts.append(drawn.mark_point(filled=True, size=45, opacity=1).encode(**shared))
    parts.append(nearest_point(thinned([r for r in rows if r["gradient"] is not None], [], MOST_POINTED_AT), shared))
    return layered(parts, title, height)


def factor_bars(found: Sequence[Segment], title: str = "") -> alt.LayerChart:
    """What every segment does to the gradient in decades, by cause: losses to the left, gains to the right.

    The dot is what is left of them all: the segment's own gain.
    """
    shown = causes(found)
    rows = plain(row for place, segment in enumerate(found) for row in _bar_parts(place, segment, shown))
    net = plain({"place": i, "net": _log(s.gain), "told": told(s)} for i, s in enumerate(found))
    scale = alt.Scale(domain=list(shown), range=[COLOURS[cause] for cause in shown])
    place = alt.Y(
        field="place",
        type="ordinal",
        title=None,
        scale=alt.Scale(domain=list(range(len(found)))),
        axis=_named([segment.label for segment in found], 1, labelLimit=180),
    )
    lines = alt.ExprRef("datum.told")
    across: dict[str, Any] = {
        "title": "decades: −1 leaves a tenth of the gradient",
        "axis": alt.Axis(tickCount=6, grid=True),
        "scale": alt.Scale(domain=_reach(rows)),
    }
    bars = (
        charted(rows)
        .mark_bar(tooltip=lines, height={"band": 0.72})
        .encode(
            x=alt.X(field="decades", type="quantitative", stack="zero", **across),
            y=place,
            color=alt.Color(
                field="cause",
                type="nominal",
                scale=scale,
                legend=alt.Legend(title=None, columns=2 if len(shown) > 4 else 3),
            ),
            order=alt.Order(field="rank", type="quantitative"),
        )
    )
    zero = charted([{}]).mark_rule(color="#8a929c").encode(x=alt.XDatum(0))
    dots = charted(net).mark_point(filled=True, size=50, opacity=1, color=INK, stroke="white", tooltip=lines)
    dots = dots.encode(x=alt.X(field="net", type="quantitative"), y=place)
    return layered([bars, zero, dots], title, BAR_STEP * len(found))


def causes(found: Iterable[Segment]) -> list[str]:
    """The causes that make the most decades in any segment, then the rest as one, then what is unattributed.

    Example:
        >>> causes([Segment("fc", (0,), (BackwardGain(0, 1, 0.02, {"weights": 0.2, "activation": 0.1}),))])
        ['activation', 'weights', 'unattributed']
    """
    size: dict[str, float] = {}
    for segment in found:
        for cause, decades in segment.decades.items():
            size[cause] = max(size.get(cause, 0.0), abs(decades))
    size.pop(UNATTRIBUTED, None)
    ranked = [cause for cause in sorted(size, key=lambda cause: -size[cause]) if size[cause] > 0]
    others = [OTHER] if len(ranked) > MOST_CAUSES else []
    return [*ranked[:MOST_CAUSES], *others, UNATTRIBUTED]


def told(segment: Segment) -> dict[str, str]:
    """What a tooltip says of a segment: its name, its gain, its factors from the largest down."""
    lines = {"from": segment.label, "passes on": f"× {number(segment.gain)} ({signed(_log(segment.gain))} decades)"}
    for cause, factor in sorted(segment.factors.items(), key=lambda item: -abs(_log(item[1]) or 0.0)):
        if cause == UNATTRIBUTED or abs(_log(factor) or 0.0) > 1e-3:
            lines[cause] = f"× {number(factor)}"
    return lines


def signed(decades: float | None) -> str:
    """Decades with their sign and two digits.

    Example:
        >>> signed(-0.6901), signed(None)
        ('−0.69', 'no number of')
    """
    return "no number of" if decades is None else f"{decades:+.2f}".replace("-", MINUS)


def _levels(gradient_path: GradientPath, gains: Sequence[BackwardGain]) -> Iterable[Mapping[str, Any]]:
    after = {segment.waypoints[0]: segment for segment in segments(gradient_path, gains, len(gradient_path.waypoints))}
    received = gradient_path.run.column("grad_output", gradient_path.step)
    for place, (waypoint, name) in enumerate(zip(gradient_path.waypoints, names(gradient_path), strict=True)):
        norm = float(received[waypoint])
        lines = {"at": name, "gradient": number(norm)}
        lines |= (
            {k: v for k, v in told(after[waypoint]).items() if k != "from"} if waypoint in after else {"": "the front"}
        )
        yield {"place": place, "name": name, "gradient": norm, "told": lines}


def _expected(gradient_path: GradientPath, theory: TheoryCheck) -> Iterable[Mapping[str, Any]]:
    """Levels that theory expects, wherever it says something from the measured level on, with two deviations."""
    received = gradient_path.run.column("grad_output", gradient_path.step)
    places = {waypoint: place for place, waypoint in enumerate(gradient_path.waypoints)}
    runs: list[list[SegmentPrediction]] = []
    for each in theory.covered:
        if runs and runs[-1][-1].end == each.start:
            runs[-1].append(each)
        else:
            runs.append([each])
    for number_of_run, run in enumerate(runs):
        level, variance = math.log10(float(received[run[0].start])), 0.0
        yield _level(number_of_run, places[run[0].start], level, 0.0)
        for each in run:
            level, variance = level + each.expected, variance + each.spread**2
            yield _level(number_of_run, places[each.end], level, TWO_DEVIATIONS * math.sqrt(variance))


def _level(run: int, place: int, level: float, reach: float) -> Mapping[str, Any]:
    ends = {"expected": level, "low": level - reach, "high": level + reach}
    return {"run": run, "place": place, **{name: 10.0**each if each > -300 else None for name, each in ends.items()}}


def _band(rows: Sequence[Mapping[str, Any]], shared: Mapping[str, Any]) -> list[alt.Chart]:
    if not rows:
        return []
    shape: dict[str, Any] = {"x": shared["x"], "detail": alt.Detail(field="run", type="nominal")}
    axis = shared["y"].to_dict()
    y = {name: alt.Y(**{**axis, "field": name}) for name in ("expected", "low")}
    drawn = charted(list(rows))
    return [
        drawn.mark_area(color=MUTED, opacity=0.16, clip=True).encode(y=y["low"], y2=alt.Y2(field="high"), **shape),
        drawn.mark_line(color=MUTED, strokeDash=[5, 4], strokeWidth=1.6, clip=True).encode(y=y["expected"], **shape),
    ]


def _bar_parts(place: int, segment: Segment, shown: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    by_cause = dict.fromkeys(shown, 0.0)
    for cause, decades in ((cause, decades) for cause, decades in segment.decades.items() if decades):
        by_cause[cause if cause in by_cause else OTHER] += decades
    lines = told(segment)
    for rank, (cause, decades) in enumerate(by_cause.items()):
        if decades:
            yield {"place": place, "cause": cause, "decades": decades, "rank": rank, "told": lines}


def _reach(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    ends = []
    for sign in (-1, 1):
        sums: dict[int, float] = defaultdict(float)
        for row in rows:
            sums[row["place"]] += max(sign * row["decades"], 0.0)
        ends.append(sign * max(LEAST_REACH, 1.04 * max(sums.values(), default=0.0)))
    return ends


def _named(shown: Sequence[str], step: int, **given: Any) -> alt.Axis:
    """An axis of places, told by name. JSON's strings are Vega's, so that no name can be more than one."""
    short = json.dumps([elided(name) for name in shown])
    return alt.Axis(
        values=list(range(0, len(shown), step)), labelExpr=f"{short}[datum.value]", labelOverlap=True, grid=False,
        **{"labelLimit": 130, **given},
    )  # fmt: skip


def _tilted(shown: Sequence[str]) -> dict[str, Any]:
    return {"labelAngle": -40, "labelAlign": "right"} if max(map(len, shown), default=0) > 6 else {"labelAngle": 0}


def elided(name: str, most: int = ELIDED_TO) -> str:
    """The end of a long name, which tells more than its beginning.

    Example:
        >>> elided("encoder.layers.11.self_attn.out_proj")
        '…11.self_attn.out_proj'
    """
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _span(values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.08 * (high - low), (LEAST_SPAN - high + low) / 2)
    return 10 ** max(low - room, -300), 10 ** min(high + room, 300)


def _log(gain: float) -> float | None:
    return math.log10(gain) if 0 < gain < math.inf else None
