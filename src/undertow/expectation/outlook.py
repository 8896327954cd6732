"""Stretch by stretch, from one mark of the backbone to the next: what is expected, and what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from undertow.backbone import Backbone, decades, find_backbone
from undertow.expectation.laws import BY_CHANCE, BY_CHANCE_IN_ALL, ROUNDING, SQUARES, Law, NoTheory, law
from undertow.expectation.meaning import saying, summary
from undertow.expectation.statistics import Statistics
from undertow.record import Run

TOTALS = ("expected", "measured", "spread", "departs", "reasons")


@dataclass(frozen=True)
class Outlook:
    """From one layer or join of the backbone to the next.

    Attributes:
        start, end: Sites; the gradient goes from ``start`` to ``end``.
        name: what to call ``start``.
        measured: decades by which the gradient's norm changes.
        expected: decades that theory expects; nan where it says nothing.
        spread: standard deviation of that over random weights, for a single example.
        residual: whether it is a residual block, whose squares add up.
        reason: what theory doesn't cover here; empty where it does.
        departure: decades by which measured factors differ from expected ones, by cause.
        weight_var: n_in Var W of the layer it starts with; nan if it starts with a join.
        q: variance that theory gives the pre-activations in front of its activation; nan without one.
        layers: Sites of its layers.
        saying: what a departure means, in a sentence; empty without one.

    Example:
        >>> Outlook(0, 2, "fc2", measured=-0.7, expected=-0.2, spread=0.05).departs
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
    departure: Mapping[str, float] = field(default_factory=dict)
    weight_var: float = math.nan
    q: float = math.nan
    layers: tuple[int, ...] = ()
    saying: str = ""

    @property
    def covered(self) -> bool:
        """Whether theory says anything here."""
        return not self.reason

    @property
    def departs(self) -> bool:
        """Whether measurement and theory differ by more than four standard deviations and 0.03 decades."""
        return self.covered and abs(self.measured - self.expected) > BY_CHANCE * self.spread + ROUNDING

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; nan is None."""
        plain = {key: _plain(value) for key, value in vars(self).items()}
        return {**plain, "departs": self.departs}


@dataclass(frozen=True)
class Expectation:
    """Theory beside measurement along the backbone.

    Attributes:
        outlooks: the loss's side first; empty without a backbone, or where gradients aren't finite.
    """

    outlooks: tuple[Outlook, ...] = ()

    @cached_property
    def covered(self) -> tuple[Outlook, ...]:
        """Where theory says something."""
        return tuple(each for each in self.outlooks if each.covered)

    @cached_property
    def departing(self) -> tuple[Outlook, ...]:
        """Where measurement differs from it, the largest difference first."""
        found = [each for each in self.outlooks if each.departs]
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
        """Decades measured over all of the backbone, covered or not."""
        return sum(each.measured for each in self.outlooks if math.isfinite(each.measured))

    @property
    def spread(self) -> float:
        """Standard deviation of ``expected`` over random weights, as if the stretches were independent."""
        return math.sqrt(sum(each.spread**2 for each in self.covered))

    @property
    def departs(self) -> bool:
        """Whether all of it together differs by more than three standard deviations and 0.03 decades."""
        return abs(self.measured - self.expected) > BY_CHANCE_IN_ALL * self.spread + ROUNDING

    @property
    def departure(self) -> dict[str, float]:
        """Decades by which measured factors differ from expected ones over everything covered, by cause."""
        causes = {cause: 0.0 for each in self.covered for cause in each.departure}
        return {cause: sum(each.departure.get(cause, 0.0) for each in self.covered) for cause in causes}

    @property
    def reasons(self) -> tuple[str, ...]:
        """What theory doesn't cover, each once."""
        return tuple(dict.fromkeys(each.reason for each in self.outlooks if not each.covered))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        totals = {name: _plain(getattr(self, name)) for name in TOTALS}
        return {"saying": summary(self), **totals, "stretches": [each.to_dict() for each in self.outlooks]}


def expected(run: Run, step: int = -1, backbone: Backbone | None = None) -> Expectation:
    """What theory expects along the backbone of a recorded step.

    Args:
        run: what was measured; weights, biases and inputs are read off it, as well.
        step: which recorded step; the last unless told otherwise.
        backbone: of that step, if it is at hand.

    Example:
        >>> import numpy as np
        >>> from undertow.record import Edge, Role, Site
        >>> layer = dict(op="addmm", role=Role.WEIGHT, n_out=100, weight_shape=(100, 100))
        >>> sites = (Site(0, "fc2", **layer), Site(1, "act", "relu", Role.ACTIVATION, activation="relu"),
        ...          Site(2, "fc1", **layer))
        >>> columns = {"grad_output": np.array([[1.0, 1.4, 1.01]]), "weight_norm": np.full((1, 3), 200**0.5)}
        >>> run = Run({}, sites, (Edge(0, 1), Edge(1, 2)), columns)
        >>> found = expected(run).outlooks[0]
        >>> round(found.expected, 6) + 0.0, round(found.measured, 3), round(found.spread, 3), found.departs
        (0.0, 0.004, 0.049, False)
    """
    backbone = backbone or find_backbone(run, step)
    if backbone is None or len(backbone.marks) < 2:
        return Expectation()
    statistics = Statistics(run, step)
    found = Expectation(tuple(_outlook(statistics, sites) for sites in _between_marks(backbone)))
    # A watched step is not asked for what comes into layers: that is no reason to say that theory is at a loss.
    unasked = bool(run.scalars) and np.isnan(run.column("input_rms", step)).all()
    return Expectation() if unasked and not found.covered else found


def _between_marks(backbone: Backbone) -> Sequence[tuple[int, ...]]:
    """The backbone's Sites from every mark to the next, both included."""
    sites, places = backbone.sites, [backbone.sites.index(mark) for mark in backbone.marks]
    return [sites[a : b + 1] for a, b in pairwise(places)]


def _outlook(statistics: Statistics, sites: Sequence[int]) -> Outlook:
    start, end, name = sites[0], sites[-1], statistics.run.sites[sites[0]].name
    received = statistics.run.column("grad_output", statistics.step)
    if not (received[start] > 0 and received[end] > 0 and math.isfinite(received[start] + received[end])):
        return Outlook(start, end, name, math.nan, reason="gradients of zero, inf or nan")
    measured = float(decades(received[end]) - decades(received[start]))
    try:
        found = sum((law(statistics, a, b) for a, b in pairwise(sites)), Law())
    except NoTheory as why:
        return Outlook(start, end, name, measured, reason=str(why))
    if not found.layers:
        return Outlook(start, end, name, measured, reason="joins alone")
    if not math.isfinite(found.decades):
        return Outlook(start, end, name, measured, reason="weights of zero")
    outlook = Outlook(
        start,
        end,
        name,
        measured,
        found.decades,
        math.sqrt(found.variance) / SQUARES,
        found.residual,
        departure=found.departure,
        weight_var=float(statistics.weight_var[start]),
        q=found.q,
        layers=found.layers,
    )
    return replace(outlook, saying=saying(statistics, outlook)) if outlook.departs else outlook


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
