"""Hold the expected beside the measured, from one waypoint of the gradient path to the next, and from end to end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from undertow.analysis.theory_check.gain_model import (
    BY_CHANCE,
    BY_CHANCE_IN_ALL,
    ROUNDING,
)
from undertow.jsonable import jsonable

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
        """Return its numbers as JSON values."""
        totals = {name: jsonable(getattr(self, source)) for name, source in TOTALS.items()}
        return {**totals, "stretches": [each.to_dict() for each in self.predictions]}
