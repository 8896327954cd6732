"""Charts of one pass: the gradient's way back from the loss, and what made it larger or smaller on the way."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from undertow.analysis.theory_check import SegmentPrediction
from undertow.diagnosis import Diagnosis
from undertow.formatting import number
from undertow.render import figures
from undertow.render.axes import charted, layered, measured
from undertow.render.causes import COLOURS, OTHER, UNATTRIBUTED, causes, signed_decades
from undertow.render.charts import nearest_point
from undertow.render.labels import elided, waypoint_names
from undertow.render.rows import plain, thinned
from undertow.render.segments import Segment, segments
from undertow.render.theme import CATEGORY_COLOURS, INK, MUTED

MOST_NAMES = 12
MOST_POINTED_AT = 400
MOST_DRAWN = 2_000
LEAST_SPAN = 1.5
"""Decades that the axis of a gradient spans at least: a healthy network shall look as flat as it is."""

TWO_DEVIATIONS = 1.96
PICTURE_WIDTH = 760

BAR_STEP = 22
LEAST_REACH = 0.3
"""Decades to either side that bars have room for at least, so that a few hundredths look like what they are."""


def svg(diagnosis: Diagnosis, title: str = "") -> str:
    """Draw the gradient's way back and its causes, one under the other, in one SVG.

    Args:
        diagnosis: of the step to show; its gradient passes two layers or more.
        title: of the picture.
    """
    charts = [way_back(diagnosis, title), factor_bars(segments(diagnosis), "By cause")]
    return figures.to_svg(charts, PICTURE_WIDTH, columns=1)


def way_back(diagnosis: Diagnosis, title: str = "", height: int = 280) -> alt.LayerChart:
    """Draw the gradient's norm at every waypoint, the loss on the left; points tell the factors that follow.

    What theory expects is drawn beside, dashed, with a band that holds 95 % of networks of these widths.

    Args:
        diagnosis: of the step to show; its gradient path has two waypoints or more.
        title: of the chart.
        height: of the plotting area, pixels.
    """
    rows = plain(_levels(diagnosis), ["gradient"])
    beside = plain(thinned(_expected(diagnosis), ["run"], MOST_DRAWN), ["expected", "low", "high"])
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
    drawn = charted([{key: row[key] for key in ("place", "gradient")} for row in thinned(rows, [], MOST_DRAWN)])
    parts = [*_band(beside, shared), drawn.mark_line().encode(**shared)]
    if len(rows) <= 100:
        parts.append(drawn.mark_point(filled=True, size=45, opacity=1).encode(**shared))
    pointed = thinned([r for r in rows if r["gradient"] is not None], [], MOST_POINTED_AT)
    parts.append(nearest_point(_told(diagnosis, pointed), shared))
    return layered(parts, title, height)


def factor_bars(found: Sequence[Segment], title: str = "") -> alt.LayerChart:
    """Draw what every segment does to the gradient in decades, by cause: losses to the left, gains to the right.

    The dot is what is left of them all: the segment's own gain.
    """
    shown = causes(found)
    rows = plain(row for place, segment in enumerate(found) for row in _bar_parts(place, segment, shown))
    net = plain({"place": i, "net": s.net_decades, "lines": tooltip(s)} for i, s in enumerate(found))
    scale = alt.Scale(domain=list(shown), range=[COLOURS[cause] for cause in shown])
    place = alt.Y(
        field="place",
        type="ordinal",
        title=None,
        scale=alt.Scale(domain=list(range(len(found)))),
        axis=_named([segment.label for segment in found], 1, labelLimit=180),
    )
    lines = alt.ExprRef("datum.lines")
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


def tooltip(segment: Segment) -> dict[str, str]:
    """Describe a segment where a reader points at it: its name, its gain, its factors from the largest down."""
    passes_on = f"× {number(segment.gain)} ({signed_decades(segment.net_decades)} decades)"
    lines = {"from": segment.label, "passes on": passes_on}
    size = {cause: abs(segment.decades.get(cause, 0.0)) for cause in segment.factors}
    for cause, factor in sorted(segment.factors.items(), key=lambda item: -size[item[0]]):
        if cause == UNATTRIBUTED or size[cause] > 1e-3:
            lines[cause] = f"× {number(factor)}"
    return lines


def _levels(diagnosis: Diagnosis) -> Iterable[Mapping[str, Any]]:
    gradient_path = diagnosis.gradient_path
    if gradient_path is None:
        return
    received = diagnosis.column("grad_output")
    for place, (waypoint, name) in enumerate(zip(gradient_path.waypoints, waypoint_names(gradient_path), strict=True)):
        yield {"place": place, "name": name, "gradient": float(received[waypoint])}


def _told(diagnosis: Diagnosis, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of levels with what to say where a reader points at one."""
    assert diagnosis.gradient_path is not None  # noqa: S101  # there are levels
    waypoints, received = diagnosis.gradient_path.waypoints, diagnosis.column("grad_output")
    after = {segment.waypoints[0]: segment for segment in segments(diagnosis, most=None)}
    told = []
    for row in rows:
        waypoint = waypoints[row["place"]]
        lines = {"at": row["name"], "gradient": number(float(received[waypoint]))}
        if waypoint in after:
            lines |= {key: line for key, line in tooltip(after[waypoint]).items() if key != "from"}
        else:
            lines[""] = "the front"
        told.append({**row, "lines": lines})
    return told


def _expected(diagnosis: Diagnosis) -> Iterable[Mapping[str, Any]]:
    """Return the levels that theory expects from the measured level on, with two deviations, where it covers any."""
    if diagnosis.gradient_path is None:
        return
    received = diagnosis.column("grad_output")
    places = {waypoint: place for place, waypoint in enumerate(diagnosis.gradient_path.waypoints)}
    runs: list[list[SegmentPrediction]] = []
    for each in diagnosis.theory.covered:
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
    lines = tooltip(segment)
    for rank, (cause, decades) in enumerate(by_cause.items()):
        if decades:
            yield {"place": place, "cause": cause, "decades": decades, "rank": rank, "lines": lines}


def _reach(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    ends = []
    for sign in (-1, 1):
        sums: dict[int, float] = defaultdict(float)
        for row in rows:
            sums[row["place"]] += max(sign * row["decades"], 0.0)
        ends.append(sign * max(LEAST_REACH, 1.04 * max(sums.values(), default=0.0)))
    return ends


def _named(shown: Sequence[str], step: int, **given: Any) -> alt.Axis:
    """An axis of places, labelled by name. JSON's strings are Vega's, so that no name can be more than one."""
    short = json.dumps([elided(figures.in_a_chart(name)) for name in shown[::step]])
    place = f"datum.value / {step}" if step > 1 else "datum.value"
    return alt.Axis(
        values=list(range(0, len(shown), step)), labelExpr=f"{short}[{place}]", labelOverlap=True, grid=False,
        **{"labelLimit": 130, **given},
    )  # fmt: skip


def _tilted(shown: Sequence[str]) -> dict[str, Any]:
    return {"labelAngle": -40, "labelAlign": "right"} if max(map(len, shown), default=0) > 6 else {"labelAngle": 0}


def _span(values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    low, high = math.log10(min(values)), math.log10(max(values))
    room = max(0.08 * (high - low), (LEAST_SPAN - high + low) / 2)
    return 10 ** max(low - room, -300), 10 ** min(high + room, 300)
