"""One full step of a Run as a page shows it: what makes the gradient larger or smaller there, and every reading."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.analysis.gradient_path import GradientPath
from undertow.diagnosis import Diagnosis
from undertow.render.causes import causes
from undertow.render.labels import site_names
from undertow.render.run_series import steps_of
from undertow.render.segments import Segment, segments
from undertow.render.verdict import change_on_the_way

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


def step_view(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return what there is to show of one full step, as JSON values.

    Returns:
        ``step``; ``values`` of the step (loss, lr); ``segments`` of the gradient path, the loss's side first, each with
        its gain and its decades by cause; ``causes`` in the order they are stacked; ``sentence``; ``readings`` [rows].

    Example:
        >>> from undertow.record import Edge, Role, Run, Site
        >>> sites = tuple(Site(i, f"fc{2 - i}", "addmm", Role.WEIGHT) for i in range(2))
        >>> run = Run({}, sites, (Edge(0, 1),), {"grad_output": np.array([[1.0, 0.1]])},
        ...           {"contribution": np.array([[0.1]]), "share": np.array([[1.0]])})
        >>> shown = step_view(Diagnosis(run, 0))
        >>> shown["segments"][0]["label"], shown["segments"][0]["decades"]
        ('fc2', -1.0)
    """
    run, row = diagnosis.run, diagnosis.step
    found = segments(diagnosis)
    return {
        "step": steps_of(run)[row],
        "values": {name: _shown(values[row]) for name, values in run.steps.items() if name not in ("step", "time")},
        "causes": causes(found) if found else [],
        "segments": [_segment(each) for each in found],
        "sentence": _sentence(diagnosis.gradient_path),
        "columns": list(READINGS.values()),
        "readings": _readings(diagnosis),
    }


def _segment(segment: Segment) -> dict[str, Any]:
    shown = {"label": segment.label, "gain": _shown(segment.gain), "decades": segment.net_decades}
    return {**shown, "causes": _causes(segment.decades)}


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
    return f"{change_on_the_way(gradient_path.decay())}."


def _readings(diagnosis: Diagnosis) -> Sequence[Sequence[Any]]:
    columns = [diagnosis.column(name) for name in READINGS]
    sites = diagnosis.run.sites
    names = site_names(sites)
    read = [site.index for site in reversed(sites) if not all(np.isnan(column[site.index]) for column in columns)]
    return [[names[site], *(_shown(column[site]) for column in columns)] for site in read[:MOST_LINES]]


def _shown(value: float) -> float | str | None:
    """Return six digits; JSON knows neither inf nor nan: the one becomes a sign, the other is left out."""
    if math.isfinite(value):  # by hand and not by `jsonable`: a saved page holds a third of a million of these
        return float(f"{value:.6g}")
    return None if math.isnan(value) else "∞" if value > 0 else "−∞"
