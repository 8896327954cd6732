"""One taped step of a Run as a page shows it: what makes the gradient larger or smaller there, and every reading."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.backbone import Backbone, find_backbone
from undertow.record import Run
from undertow.show import currents
from undertow.show.course import site_names, steps_of
from undertow.show.stretches import Stretch, stretches
from undertow.split import explain

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
        ``step``; ``values`` of the step (loss, lr); ``stretches`` of the way back, the loss's side first, each with its
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
    backbone = find_backbone(run, row)
    found: list[Stretch] = []
    if backbone is not None and len(backbone.marks) > 1:
        found = stretches(backbone, explain(run, row, backbone), currents.MOST_BARS)
    return {
        "step": steps_of(run)[row],
        "values": {name: _plain(values[row]) for name, values in run.steps.items() if name not in ("step", "time")},
        "causes": currents.causes(found) if found else [],
        "stretches": [_stretch(each) for each in found],
        "sentence": _sentence(backbone),
        "columns": list(READINGS.values()),
        "readings": _readings(run, row),
    }


def _stretch(stretch: Stretch) -> dict[str, Any]:
    gain = stretch.gain
    decades = math.log10(gain) if 0 < gain < math.inf else None
    return {"label": stretch.label, "gain": _plain(gain), "decades": decades, "causes": _causes(stretch.decades)}


def _causes(decades: Mapping[str, float]) -> dict[str, float]:
    return {cause: round(value, 5) for cause, value in decades.items() if abs(value) > 5e-6}


def _sentence(backbone: Backbone | None) -> str:
    if backbone is None or len(backbone.marks) < 2:
        return "The gradient passes fewer than two layers here: there is no way back to draw."
    received = backbone.run.column("grad_output", backbone.step)[list(backbone.marks)]
    if not np.isfinite(received).all():
        return "The gradient is not finite at this step."
    if received[-1] == 0:
        return "No gradient arrives at the front at this step."
    decay = backbone.decay()
    return (
        f"From the loss to the front the gradient changes by {currents.signed(decay.total)} decades, "
        f"{currents.signed(decay.rate)} from one layer or join to the next."
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
