"""Derive from a whole run what is judged over time, each once: its losses, what was recorded when, learning rates."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from undertow.record import Finding, Run

Numbers = NDArray[np.floating]

BINS = 20
FEWEST_NOTES = 40
"""Losses without which nothing is said of where they go."""

OF_ITS_FALL = 0.02
"""Part of the whole fall that a loss may still move by if it is to be called settled."""

FALLEN = 0.05
SETTLED_BINS = 5


class Series(NamedTuple):
    """Numbers through time: ``steps`` of the optimizer and ``values``, both [noted]; nothing in it is nan."""

    steps: Numbers
    values: Numbers


class LossSummary(NamedTuple):
    """Say how a loss went: where it came from and got to.

    Attributes:
        start, end: medians of the first few losses and of the last tenth.
        noise: standard deviation of single losses around their neighbours, robustly.
        fell: whether it fell by more than that, and more than a little.
        settled: the step since when it has stood still, None if it hasn't.
    """

    start: float
    end: float
    noise: float
    fell: bool
    settled: int | None


@dataclass(frozen=True)
class RunHistory:
    """A run through time, and all that is concluded from it, each worked out once.

    Attributes:
        run: what was measured.
        findings: what was found in it that keeps it from being called converged; empty until the rules were asked.

    Example:
        >>> run = Run({}, (), scalars={"step": np.arange(60.0), "loss": 2 * 0.7 ** np.arange(60.0)})
        >>> RunHistory(run).loss_summary.settled
        12
    """

    run: Run
    findings: Sequence[Finding] = ()

    @cached_property
    def steps(self) -> Numbers:
        """The optimizer's step of every row (full step), [rows]."""
        return np.asarray(self.run.steps.get("step", np.arange(len(self.run))), float)

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Tell for every row whether everything that was measured is finite, [rows]."""
        rows = np.ones(len(self.run), bool)
        if "grad_output" in self.run.columns:
            rows &= np.isfinite(self.run.columns["grad_output"]).all(1)
        if "nonfinite" in self.run.columns:
            rows &= np.nansum(self.run.columns["nonfinite"], axis=1) == 0
        loss = self.run.steps.get("loss")
        # A loss of nan may be one that nobody noted; an infinite one was.
        return rows if loss is None else rows & ~np.isinf(loss)

    @cached_property
    def first_step(self) -> float:
        """The first step there is anything of."""
        firsts = [each[0] for each in (self.steps, self.scalar("step").values) if len(each)]
        return float(min(firsts, default=0.0))

    def scalar(self, name: str) -> Series:
        """Return a scalar wherever it was noted, in the order of steps."""
        scalars = self.run.scalars if name in self.run.scalars else self.run.steps
        values = np.asarray(scalars.get(name, np.empty(0)), float)
        steps = np.asarray(scalars.get("step", np.arange(len(values))), float)
        known = ~np.isnan(values)
        order = np.argsort(steps[known], kind="stable")
        return Series(steps[known][order], values[known][order])

    @property
    def one_loss(self) -> bool:
        """Tell whether one loss should fall: several optimizers may play against each other, as a GAN's."""
        return "," not in str(self.run.header.get("optimizer", ""))

    @cached_property
    def loss(self) -> Series:
        """The loss wherever it is finite."""
        series = self.scalar("loss")
        kept = np.isfinite(series.values)
        return Series(series.steps[kept], series.values[kept])

    @cached_property
    def loss_summary(self) -> LossSummary | None:
        """Return how the loss went; None with too few losses to tell."""
        return summarise_loss(self.loss)

    def measured(self, column: str) -> NDArray[np.bool_]:
        """Return for every row whether a column of Sites was measured there, [rows]."""
        if column not in self._measured:
            values = self.run.columns.get(column)
            measured = np.zeros((len(self.run), 1), bool) if values is None else ~np.isnan(values)
            self._measured[column] = np.asarray(measured.any(1))
        return self._measured[column]

    @cached_property
    def _measured(self) -> dict[str, NDArray[np.bool_]]:
        return {}

    @cached_property
    def lr_share(self) -> Numbers:
        """The learning rate at every row as a share of its largest, the least of any group; 1 where unknown."""
        lr = np.asarray(self.run.steps.get("lr", np.full(len(self.run), np.nan)), float)[:, None]
        if "lr" in self.run.parameter_columns and len(self.run.parameter_steps):
            lr = np.asarray(self.run.parameter_columns["lr"][self._parameter_rows], float)
        # Not 0, by which a rate of 0 throughout would be divided.
        highest = np.fmax.reduce(lr, axis=0, initial=1e-300)
        return np.fmin.reduce(np.where(np.isnan(lr), np.inf, lr / highest), axis=1, initial=1.0)

    def learning_rates(self, row: int, parameters: Collection[str]) -> Numbers:
        """Return the learning rates of some parameters at a row, as far as they are known."""
        if "lr" not in self.run.parameter_columns or not len(self.run.parameter_steps):
            return np.empty(0)
        places = [place for place, name in enumerate(self.run.parameters) if name in parameters]
        found = np.asarray(self.run.parameter_columns["lr"][self._parameter_rows[row]], float)[places]
        return found[~np.isnan(found)]

    @cached_property
    def _parameter_rows(self) -> NDArray[np.intp]:
        """For every row, the row of the parameters' columns of that step, or of the next."""
        last = len(self.run.parameter_steps) - 1
        return np.searchsorted(self.run.parameter_steps, self.steps).clip(0, last)


def summarise_loss(loss: Series) -> LossSummary | None:
    """Summarise losses; None with too few of them."""
    if len(loss.values) < FEWEST_NOTES:
        return None
    edges = np.linspace(loss.steps[0], loss.steps[-1], BINS + 1)
    bins = np.clip(np.searchsorted(edges, loss.steps, side="right") - 1, 0, BINS - 1)
    first = [int(place) for place in np.flatnonzero(np.diff(bins, prepend=-1))]
    parts = [loss.values[a:b] for a, b in zip(first, [*first[1:], len(bins)], strict=True)]
    late = [values - np.median(values) for values in parts[len(parts) // 2 :]]
    noise = 1.4826 * float(np.median(np.abs(np.concatenate(late))))
    start, end = float(np.median(loss.values[:5])), float(np.median(loss.values[-max(len(loss.values) // 10, 5) :]))
    fell = start - end > max(3 * noise, FALLEN * abs(start))
    little = OF_ITS_FALL * abs(start - end)
    still = [abs(np.median(v) - end) <= max(little, 3 * noise / np.sqrt(len(v))) for v in parts]
    since = len(still) - still[::-1].index(False) if False in still else 0
    while len(parts) - since >= SETTLED_BINS and _drift(loss, first[since], noise) > little:
        since += 1
    settled = int(loss.steps[first[since]]) if len(parts) - since >= SETTLED_BINS else None
    return LossSummary(start, end, noise, bool(fell), settled)


def _drift(loss: Series, since: int, noise: float) -> float:
    """Return how far a line through the losses from there on goes down or up, less what noise alone may make of it."""
    steps, values = loss.steps[since:], loss.values[since:]
    # Beyond four deviations a batch is an odd one, and would turn the line.
    values = np.clip(values, np.median(values) - 4 * noise, np.median(values) + 4 * noise) if noise else values
    way = float(steps[-1] - steps[0])
    spread = float(np.std(steps)) or 1.0
    slope = float(np.mean((steps - steps.mean()) * (values - values.mean()))) / spread**2
    return way * (abs(slope) - 2 * noise / (spread * np.sqrt(len(steps))))
