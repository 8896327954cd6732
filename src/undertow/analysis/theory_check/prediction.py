"""Segment by segment, from one waypoint of the gradient path to the next: what is expected, and what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from undertow.analysis.gradient_path import GradientPath, decades, find_gradient_path
from undertow.analysis.theory_check.gain_model import (
    BY_CHANCE,
    BY_CHANCE_IN_ALL,
    ROUNDING,
    SQUARES,
    GainModel,
    NoTheory,
    gain_model,
)
from undertow.analysis.theory_check.interpretation import saying, summary
from undertow.analysis.theory_check.statistics import Statistics
from undertow.jsonable import jsonable
from undertow.record import Run

TOTALS = {
    "expected": "expected",
    "measured": "measured",
    "spread": "spread",
    "departs": "deviates",
    "reasons": "reasons",
}
"""What JSON says of the whole network, and the attribute that it comes from."""


@dataclass(frozen=True)
class SegmentPrediction:
    """From one layer or join of the gradient path to the next.

    Attributes:
        start, end: Sites; the gradient goes from ``start`` to ``end``.
        name: what to call ``start``.
        measured: decades by which the gradient's norm changes.
        expected: decades that theory expects; nan where it says nothing.
        spread: standard deviation of that over random weights, for a single example.
        residual: whether it is a residual block, whose squares add up.
        reason: what theory doesn't cover here; empty where it does.
        deviation: decades by which measured factors differ from expected ones, by cause.
        weight_var: n_in Var W of the layer it starts with; nan if it starts with a join.
        q: variance that theory gives the pre-activations in front of its activation; nan without one.
        layers: Sites of its layers.
        saying: what a departure means, in a sentence; empty without one.

    Example:
        >>> SegmentPrediction(0, 2, "fc2", measured=-0.7, expected=-0.2, spread=0.05).deviates
        True
    """

    start: int
    end: int
    name: str
    measured: float
    expected: float = math.nan
    spread: float = 0.0
    residual: bool = False
    reason: str = ""
    deviation: Mapping[str, float] = field(default_factory=dict)
    weight_var: float = math.nan
    q: float = math.nan
    layers: tuple[int, ...] = ()
    saying: str = ""

    @property
    def covered(self) -> bool:
        """Tell whether theory says anything here."""
        return not self.reason

    @property
    def deviates(self) -> bool:
        """Tell whether measurement and theory differ by more than four standard deviations and 0.03 decades."""
        return self.covered and abs(self.measured - self.expected) > BY_CHANCE * self.spread + ROUNDING

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; nan is None."""
        plain = {"departure" if key == "deviation" else key: jsonable(value) for key, value in vars(self).items()}
        return {**plain, "departs": self.deviates}


@dataclass(frozen=True)
class TheoryCheck:
    """Theory beside measurement along the gradient path.

    Attributes:
        predictions: the loss's side first; empty without a gradient path, or where gradients aren't finite.
    """

    predictions: tuple[SegmentPrediction, ...] = ()

    def __repr__(self) -> str:
        counts = f"{len(self.predictions)} segments, {len(self.covered)} covered, {len(self.deviating)} deviating"
        return f"<TheoryCheck: {counts}; {self.expected:+.2f} decades expected, {self.measured:+.2f} measured>"

    @cached_property
    def covered(self) -> tuple[SegmentPrediction, ...]:
        """Return the predictions of all segments that theory covers."""
        return tuple(each for each in self.predictions if each.covered)

    @cached_property
    def deviating(self) -> tuple[SegmentPrediction, ...]:
        """Return the predictions that measurement differs from, the largest difference first."""
        found = [each for each in self.predictions if each.deviates]
        return tuple(sorted(found, key=lambda each: -abs(each.measured - each.expected)))

    @property
    def expected(self) -> float:
        """Decades over everything that is covered."""
        return sum(each.expected for each in self.covered)

    @property
    def measured(self) -> float:
        """Decades over the same."""
        return sum(each.measured for each in self.covered)

    @property
    def end_to_end(self) -> float:
        """Decades measured over all of the gradient path, covered or not."""
        return sum(each.measured for each in self.predictions if math.isfinite(each.measured))

    @property
    def spread(self) -> float:
        """Standard deviation of ``expected`` over random weights, as if the segments were independent."""
        return math.sqrt(sum(each.spread**2 for each in self.covered))

    @property
    def deviates(self) -> bool:
        """Tell whether all of it together differs by more than three standard deviations and 0.03 decades."""
        return abs(self.measured - self.expected) > BY_CHANCE_IN_ALL * self.spread + ROUNDING

    @property
    def deviation(self) -> dict[str, float]:
        """Decades by which measured factors differ from expected ones over everything covered, by cause."""
        causes = {cause: 0.0 for each in self.covered for cause in each.deviation}
        return {cause: sum(each.deviation.get(cause, 0.0) for each in self.covered) for cause in causes}

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what theory doesn't cover, each once."""
        return tuple(dict.fromkeys(each.reason for each in self.predictions if not each.covered))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        totals = {name: jsonable(getattr(self, source)) for name, source in TOTALS.items()}
        return {"saying": summary(self), **totals, "stretches": [each.to_dict() for each in self.predictions]}


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
    sites, places = gradient_path.sites, [gradient_path.sites.index(waypoint) for waypoint in gradient_path.waypoints]
    return [sites[a : b + 1] for a, b in pairwise(places)]


def _prediction(statistics: Statistics, sites: Sequence[int]) -> SegmentPrediction:
    start, end, name = sites[0], sites[-1], statistics.run.sites[sites[0]].name
    received = statistics.run.column("grad_output", statistics.step)
    if not (received[start] > 0 and received[end] > 0 and math.isfinite(received[start] + received[end])):
        return SegmentPrediction(start, end, name, math.nan, reason="gradients of zero, inf or nan")
    measured = float(decades(received[end]) - decades(received[start]))
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
