"""`explain`: a run's gains and findings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from undertow.analysis import attribution
from undertow.analysis.timeline import RunHistory
from undertow.record import BackwardGain, Finding, Run
from undertow.render import terminal_run
from undertow.reporting.report import Report
from undertow.rules import over_time


@dataclass(frozen=True, eq=False)
class Explanation:
    """A run, explained; ``print`` it.

    Attributes:
        run: what was measured.
        row: the place, among its taped steps, of the one that ``gains`` are of; -1 if none was taped.
        gains: every block of the gradient path by cause, the loss's side first.
        findings: what the rules say of the run through time, the worst first.
    """

    run: Run
    row: int
    gains: Sequence[BackwardGain]
    findings: Sequence[Finding]

    def __str__(self) -> str:
        return terminal_run.summary(self.run, self.findings, self.row, str(self.run.header.get("name", "run")))

    __repr__ = __str__

    @property
    def step(self) -> int | None:
        """The optimizer's step that the gains are of; None if none was taped."""
        return int(RunHistory(self.run).steps[self.row]) if len(self.run) else None

    def report(self) -> Report:
        """The one step as a `Report`, to compare or to save; its findings are those of the whole run."""
        return Report(at_row(self.run, self.row) if len(self.run) else self.run, self.gains, self.findings)


def explain(run: Run, step: int | None = None) -> Explanation:
    """A run's gains and findings: what changes the gradient on its way back, and what is wrong with the run.

    Args:
        run: as `undertow.open_run` returns it; it may still grow.
        step: the optimizer's step to tell gains of; the last finite one that was taped unless told otherwise.

    Raises:
        ValueError: that step was not taped; the nearest is named.

    Example:
        >>> from undertow.record import Edge, Role, Site
        >>> sites = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))
        >>> run = Run({}, sites, (Edge(0, 1),), {"grad_output": np.array([[1.0, 0.25], [1.0, 0.5]])},
        ...           {"contribution": np.array([[0.25], [0.5]]), "share": np.ones((2, 1))},
        ...           {"step": np.array([0.0, 8.0])})
        >>> explain(run).gains[0].gain, explain(run, step=0).gains[0].gain
        (0.5, 0.25)
        >>> explain(run).findings
        []
    """
    row = last_finite(run) if step is None else row_of(run, step)
    gains = attribution.attribute(run, row) if len(run) else ()
    return Explanation(run, row, gains, over_time(run))


def row_of(run: Run, step: int | None) -> int:
    """The place of a step among the taped ones, -1 for the last.

    Raises:
        ValueError: it was not taped; the nearest is named.

    Example:
        >>> row_of(Run({}, (), steps={"step": np.array([0.0, 8.0, 16.0])}), 9)
        Traceback (most recent call last):
        ValueError: step 9 was not taped: the nearest that was is 8, the last 16
    """
    if step is None:
        return -1
    taped = RunHistory(run).steps
    if not len(taped):
        raise ValueError("no step of this run was taped, so there is none to tell of: leave the step out")
    row = int(np.argmin(abs(taped - step)))
    if taped[row] != step:
        nearest = f"the nearest that was is {taped[row]:,.0f}, the last {taped[-1]:,.0f}"
        raise ValueError(f"step {step:,} was not taped: {nearest}")
    return row


def at_row(run: Run, row: int) -> Run:
    """One taped step of a run, as a run of one step."""
    row = range(len(run))[row]
    only = slice(row, row + 1)
    steps = {name: column[only] for name, column in run.steps.items()}
    return replace(
        run,
        columns={name: column[only] for name, column in run.columns.items()},
        edge_columns={name: column[only] for name, column in run.edge_columns.items()},
        steps=steps,
        other_graphs=(),
    )


def last_finite(run: Run) -> int:
    """The place of the last taped step at which everything was finite; -1, the last of all, if there is none.

    Example:
        >>> last_finite(Run({}, (), steps={"step": np.array([0.0, 8.0]), "loss": np.array([1.0, np.inf])}))
        0
    """
    rows = np.flatnonzero(RunHistory(run).finite)
    return int(rows[-1]) if len(rows) else -1
