"""A Run through time: what all renderings of it share, each worked out once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Run
from undertow.render.buckets import Numbers
from undertow.render.run_series import RunSeries, steps_of

MOST_STEPS = 120
"""Steps of a saved page at which causes are shown."""


@dataclass(frozen=True, eq=False)
class DiagnosedRun:
    """A Run through time: its series, and a `Diagnosis` of each of its full steps.

    Attributes:
        chosen: the Diagnosis of the step that is shown first; its findings are those of the whole run.

    Example:
        >>> DiagnosedRun(Diagnosis(Run({"model": "Net"}, ()))).shown_rows
        []
    """

    chosen: Diagnosis

    @property
    def run(self) -> Run:
        """The Run."""
        return self.chosen.run

    @cached_property
    def series(self) -> RunSeries:
        """Every quantity of every layer, read in one pass."""
        return RunSeries(self.run)

    @cached_property
    def steps(self) -> Numbers:
        """The optimizer's step of every row, [rows]."""
        return steps_of(self.run)

    @property
    def row(self) -> int:
        """The chosen step's place among the rows, from 0; -1 if there are none."""
        return range(len(self.run))[self.chosen.step] if len(self.run) else -1

    @cached_property
    def shown_rows(self) -> list[int]:
        """The rows that a saved page shows: the chosen one, where findings began, and others evenly spread."""
        if not len(self.run):
            return []
        even = np.linspace(0, len(self.run) - 1, min(len(self.run), MOST_STEPS)).round().astype(int)
        began = [each.began for each in self.chosen.findings if each.began is not None]
        nearest = [int(np.argmin(abs(self.steps - step))) for step in began[:MOST_STEPS]]
        return sorted({self.row, *even.tolist(), *nearest})

    def at(self, row: int) -> Diagnosis:
        """Return the Diagnosis of a row."""
        return self.chosen if row == self.row else Diagnosis(self.run, row, self.chosen.findings)
