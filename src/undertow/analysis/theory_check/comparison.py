"""Compare a recorded step with theory, segment by segment along its gradient path."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from undertow.analysis.gradient_path import GradientPath, decades_of, find_gradient_path
from undertow.analysis.theory_check.gain_model import SQUARES, GainModel, NoTheory, gain_model
from undertow.analysis.theory_check.interpretation import saying
from undertow.analysis.theory_check.prediction import SegmentPrediction, TheoryCheck
from undertow.analysis.theory_check.statistics import Statistics
from undertow.record import Run


def check_theory(run: Run, step: int = -1, gradient_path: GradientPath | None = None) -> TheoryCheck:
    """Compare a recorded step with what theory expects along its gradient path.

    Args:
        run: what was measured; weights, biases and inputs are read off it, as well.
        step: which recorded step; the last unless given.
        gradient_path: of that step, if it is at hand.

    Example:
        >>> import numpy as np
        >>> from undertow.record import Edge, Role, Site
        >>> layer = dict(op="addmm", role=Role.WEIGHT, n_out=100, weight_shape=(100, 100))
        >>> sites = (Site(0, "fc2", **layer), Site(1, "act", "relu", Role.ACTIVATION, activation="relu"),
        ...          Site(2, "fc1", **layer))
        >>> columns = {"grad_output": np.array([[1.0, 1.4, 1.01]]), "weight_norm": np.full((1, 3), 200**0.5)}
        >>> run = Run({}, sites, (Edge(0, 1), Edge(1, 2)), columns)
        >>> found = check_theory(run).predictions[0]
        >>> round(found.expected, 6) + 0.0, round(found.measured, 3), round(found.spread, 3), found.deviates
        (0.0, 0.004, 0.049, False)
    """
    gradient_path = gradient_path or find_gradient_path(run, step)
    if gradient_path is None or len(gradient_path.waypoints) < 2:
        return TheoryCheck()
    statistics = Statistics(run, step)
    found = TheoryCheck(tuple(_prediction(statistics, sites) for sites in _between_waypoints(gradient_path)))
    # A watched step is not asked for what comes into layers: that is no reason to say that theory is at a loss.
    unasked = bool(run.scalars) and np.isnan(run.column("input_rms", step)).all()
    return TheoryCheck() if unasked and not found.covered else found


def _between_waypoints(gradient_path: GradientPath) -> Sequence[tuple[int, ...]]:
    """The gradient path's Sites from every waypoint to the next, both included."""
    sites, places = gradient_path.sites, {site: place for place, site in enumerate(gradient_path.sites)}
    return [sites[places[a] : places[b] + 1] for a, b in pairwise(gradient_path.waypoints)]


def _prediction(statistics: Statistics, sites: Sequence[int]) -> SegmentPrediction:
    start, end, name = sites[0], sites[-1], statistics.run.sites[sites[0]].name
    received = statistics.run.column("grad_output", statistics.step)
    if not (received[start] > 0 and received[end] > 0 and math.isfinite(received[start] + received[end])):
        return SegmentPrediction(start, end, name, math.nan, reason="gradients of zero, inf or nan")
    measured = decades_of(float(received[end])) - decades_of(float(received[start]))
    try:
        found = sum((gain_model(statistics, a, b) for a, b in pairwise(sites)), GainModel())
    except NoTheory as why:
        return SegmentPrediction(start, end, name, measured, reason=str(why))
    if not found.layers:
        return SegmentPrediction(start, end, name, measured, reason="joins alone")
    if not math.isfinite(found.decades):
        return SegmentPrediction(start, end, name, measured, reason="weights of zero")
    prediction = SegmentPrediction(
        start,
        end,
        name,
        measured,
        found.decades,
        math.sqrt(found.variance) / SQUARES,
        found.residual,
        deviation=found.deviation,
        weight_var=float(statistics.weight_var[start]),
        q=found.q,
        layers=found.layers,
    )
    return replace(prediction, saying=saying(statistics, prediction)) if prediction.deviates else prediction
