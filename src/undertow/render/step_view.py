"""One taped step of a Run as a page shows it: what makes the gradient larger or smaller there, and every reading."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.analysis.attribution import attribute
from undertow.analysis.gradient_path import GradientPath, find_gradient_path
from undertow.record import Run
from undertow.render import gradient_charts
from undertow.render.run_series import site_names, steps_of
from undertow.render.segments import Segment, segments

READINGS = {
    "grad_output": "gradient",
    "learning_speed": "learning speed",
    "coherence": "coherence",
    "progress": "progress",
    "update_ratio": "update ratio",
    "saturated": "saturated",
    "dead": "dead",
}
"""Columns of the table of readings, and how they are headed."""

MOST_LINES = 400


def moment(run: Run, row: int) -> dict[str, Any]:
    """What there is to tell of one taped step, as JSON values.

    Args:
        run: what was measured.
        row: the step's place among the taped ones.

    Returns:
        ``step``; ``values`` of the step (loss, lr); ``segments`` of the way back, the loss's side first, each with its
        gain and its decades by cause; ``causes`` in the order they are stacked; ``sentence``; ``readings`` [rows].

    Example:
        >>> from undertow.record import Edge, Role, Site
        >>> sites = tuple(Site(i, f"fc{2 - i}", "addmm", Role.WEIGHT) for i in range(2))
        >>> run = Run({}, sites, (Edge(0, 1),), {"grad_output": np.array([[1.0, 0.1]])},
        ...           {"contribution": np.array([[0.1]]), "share": np.array([[1.0]])})
        >>> told = moment(run, 0)
        >>> told["stretches"][0]["label"], told["stretches"][0]["decades"]
        ('fc2', -1.0)
    """
    gradient_path = find_gradient_path(run, row)
    found: list[Segment] = []
    if gradient_path is not None and len(gradient_path.waypoints) > 1:
        found = segments(gradient_path, attribute(run, row, gradient_path), gradient_charts.MOST_BARS)
    return {
        "step": steps_of(run)[row],
        "values": {name: _plain(values[row]) for name, values in run.steps.items() if name not in ("step", "time")},
        "causes": gradient_charts.causes(found) if found else [],
        "stretches": [_segment(each) for each in found],
        "sentence": _sentence(gradient_path),
        "columns": list(READINGS.values()),
        "readings": _readings(run, row),
    }


def _segment(segment: Segment) -> dict[str, Any]:
    gain = segment.gain
    decades = math.log10(gain) if 0 < gain < math.inf else None
    return {"label": segment.label, "gain": _plain(gain), "decades": decades, "causes": _causes(segment.decades)}


def _causes(decades: Mapping[str, float]) -> dict[str, float]:
    return {cause: round(value, 5) for cause, value in decades.items() if abs(value) > 5e-6}


def _sentence(gradient_path: GradientPath | None) -> str:
    if gradient_path is None or len(gradient_path.waypoints) < 2:
        return "The gradient passes fewer than two layers here: there is no way back to draw."
    received = gradient_path.run.column("grad_output", gradient_path.step)[list(gradient_path.waypoints)]
    if not np.isfinite(received).all():
        return "The gradient is not finite at this step."
    if received[-1] == 0:
        return "No gradient arrives at the front at this step."
    decay = gradient_path.decay()
    return (
        f"From the loss to the front the gradient changes by {gradient_charts.signed(decay.total)} decades, "
        f"{gradient_charts.signed(decay.rate)} from one layer or join to the next."
    )


def _readings(run: Run, row: int) -> Sequence[Sequence[Any]]:
    columns = [run.column(name, row) for name in READINGS]
    names = site_names(run.sites)
    told = [site.index for site in reversed(run.sites) if not all(np.isnan(column[site.index]) for column in columns)]
    return [[names[site], *(_plain(column[site]) for column in columns)] for site in told[:MOST_LINES]]


def _plain(value: float) -> float | str | None:
    """JSON knows neither inf nor nan: the one is told in words, the other left out."""
    value = float(value)
    if math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else "∞" if value > 0 else "−∞"
