"""Show what becomes of the gradient from the loss to the front, and which cause does what to it."""

from collections.abc import Sequence

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.formatting import number
from undertow.render import gradient_charts
from undertow.render.blocks import Figure, Section, Table
from undertow.render.causes import OTHER, causes, signed_decades
from undertow.render.labels import waypoint_names
from undertow.render.markup import code
from undertow.render.segments import Segment, segments
from undertow.render.verdict import change_on_the_way

WORTH_TELLING = 0.005
"""Decades: less is rounding."""

BARS = (
    "Bars to the left make the gradient smaller, bars to the right larger, and the dot is what remains of them all. "
    "*Unattributed* is what was measured beyond the factors that are computed from derivatives and weights."
)
CAPTION = (
    "Only what all gradient to the front must cross is on this way; branches beside it are told below. "
    "Point at a layer for what becomes of the gradient from there to the next."
)
DASHED = (
    " Dashed: what theory expects from the measured level on, where it says anything; 95 % of networks with weights "
    "drawn at random in these sizes lie in the band."
)


def way_back(diagnosis: Diagnosis) -> Section | None:
    """Draw the gradient's way back, and its change by cause."""
    if diagnosis.gradient_path is None or len(diagnosis.gradient_path.waypoints) < 2:
        return None
    found = segments(diagnosis)
    caption = CAPTION + (DASHED if diagnosis.theory.covered else "")
    drawn, bars = gradient_charts.way_back(diagnosis), gradient_charts.factor_bars(found)
    return Section(
        "way-back",
        "The gradient’s way back",
        [
            Figure("gradient", drawn, _title(diagnosis), caption, shows=_levels_seen(diagnosis)),
            Figure("causes", bars, _cause_title(found), BARS, _numbers(found), shows=_bars_seen(found)),
        ],
    )


def _levels_seen(diagnosis: Diagnosis) -> str:
    """Say what the first figure shows to those who don't see it."""
    assert diagnosis.gradient_path is not None  # noqa: S101  # its caller looked
    received, waypoints = diagnosis.column("grad_output"), diagnosis.gradient_path.waypoints
    names = waypoint_names(diagnosis.gradient_path)
    most = max(range(len(waypoints)), key=lambda k: float(np.nan_to_num(received[waypoints[k]])))
    ends = [f"{number(float(received[waypoints[k]]))} at {names[k]}" for k in (0, -1)]
    return (
        f"A curve of the gradient's norm over {len(waypoints)} layers and joins, the loss on the left and the front on "
        f"the right: it begins with {ends[0]}, ends with {ends[1]}, and is largest at {names[most]}."
    )


def _bars_seen(found: Sequence[Segment]) -> str:
    """Say what the second figure shows to those who don't see it: the segments that lose and gain the most."""
    known = [segment for segment in found if segment.net_decades is not None]
    if not known:
        return f"{len(found)} bars, one for each segment; no segment has a gain that is a number."
    ranked = sorted(known, key=lambda segment: segment.net_decades or 0.0)
    least, most = (f"{each.label}, {signed_decades(each.net_decades)} decades" for each in (ranked[0], ranked[-1]))
    causes_named = ", ".join(cause for cause in causes(found) if cause != OTHER)
    return (
        f"{len(found)} bars, one for each segment from the loss to the front, split by cause ({causes_named}). The one "
        f"farthest to the left is {least}; the one farthest to the right, {most}."
    )


def _title(diagnosis: Diagnosis) -> str:
    assert diagnosis.gradient_path is not None  # noqa: S101  # its caller looked
    decay = diagnosis.gradient_path.decay()
    title = change_on_the_way(decay)
    return title if decay.gone is None else f"{title}; from {diagnosis.name(decay.gone)} on nothing is left"


def _cause_title(found: Sequence[Segment]) -> str:
    total: dict[str, float] = {}
    for segment in found:
        for cause, decades in segment.decades.items():
            total[cause] = total.get(cause, 0.0) + decades
    largest = sorted(total.items(), key=lambda item: -abs(item[1]))[:3]
    shown = [f"{cause} {signed_decades(decades)}" for cause, decades in largest if abs(decades) >= WORTH_TELLING]
    listed = ", ".join(shown)
    return f"Decades by cause: {listed}" if listed else "Nothing on the way makes the gradient larger or smaller"


def _numbers(found: Sequence[Segment]) -> Table:
    shown = [cause for cause in causes(found) if cause != OTHER]
    rows = [[code(s.label), s.gain, *(s.factors.get(cause) for cause in shown)] for s in found]
    return Table(["from", "passes on", *shown], rows)
