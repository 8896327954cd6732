"""Compare what a run's steps could do to the loss with what became of it: learning rates, reach, standing still."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from undertow.analysis.timeline import Numbers, RunHistory, Series

NEXT_TO_NOTHING = 1e-4
"""Of its height: a learning rate under which no schedule ends that is meant to train there."""

LONG = 1 / 15
"""Part of a run, at its end, over which such a learning rate is no schedule's last few steps."""

FEWEST_STEPS = 20
STANDING_STEPS, FEWEST_LOSSES, FEWEST_ENDS = 100, 16, 8
PARTS = 10
STILL_RISING = 0.5
FALLEN, DEVIATIONS = 0.02, 4.0
UNDER_CHANCE, UNDER_CONSTANT = 0.9, 0.95
"""Part of chance down to which a loss comes by how frequent the classes are alone, where they aren't alike; the same of
the best constant answer's loss, which takes that into account."""

STILL_FALLS = 0.01
"""Part of such a level by which a loss falls from the third quarter of a run to the last if it is learning slowly."""

COMING_DOWN = 0.05
"""Part by which a loss may yet lie above such a level in the third quarter of a run, and rest there in the last."""

SLOWS_DOWN = 0.6
"""Part of its fall from the second quarter of a run to the third by which a loss that comes to rest above such a level
falls at most to the last."""


class Reach(NamedTuple):
    """Say how much of the loss a run's steps can take off, at most.

    Attributes:
        total: sum of ||g|| ||dw|| / |loss| over all steps, from those of the full steps.
        steps: steps of the run.
        rows: full steps that it was measured at.
        late: the part of ``total`` that belongs to the second half of the run.
    """

    total: float
    steps: int
    rows: int
    late: float = np.nan


class Standstill(NamedTuple):
    """A loss that has not fallen beyond its own noise.

    Attributes:
        start: median of its first losses.
        best: the lowest median of a tenth of the run.
        noise: how far such medians lie from where they belong by chance.
        steps: steps of the run.
    """

    start: float
    best: float
    noise: float
    steps: int


def learning_rates(history: RunHistory) -> Series:
    """Return the largest learning rate of any parameter at every step at which it is known.

    Example:
        >>> from undertow.record import Run
        >>> learning_rates(RunHistory(Run({}, (), scalars={"step": np.arange(2.0), "lr": np.array([0.1, 0.0])}))).values
        array([0.1, 0. ])
    """
    run = history.run
    if "lr" not in run.parameter_columns or not len(run.parameter_steps) or not run.parameters:
        return history.scalar("lr")
    by_parameter = np.asarray(run.parameter_columns["lr"], float)
    known = ~np.isnan(by_parameter).all(1)
    full = Series(np.asarray(run.parameter_steps, float)[known], np.nanmax(by_parameter[known], axis=1))
    first = history.scalar("lr")
    if not len(full.values) or len(np.unique(by_parameter[known][0][~np.isnan(by_parameter[known][0])])) > 1:
        return full
    return first if len(first.values) > len(full.values) and _agree(first, full) else full


def _agree(first: Series, full: Series) -> bool:
    """Tell whether the first group's rate is that of what is trained: the group may hold frozen parameters alone."""
    both, here, there = np.intersect1d(first.steps, full.steps, return_indices=True)
    return not len(both) or bool(np.allclose(first.values[here], full.values[there], rtol=1e-3, atol=0.0))


def low_rate(history: RunHistory) -> tuple[int, float] | None:
    """Find since when the learning rate is next to nothing, up to the end of the run.

    Returns:
        The step and the part of the run since then; None if it isn't so, or for no longer than schedules end with.

    Example:
        >>> from undertow.record import Run
        >>> rates = np.maximum(0.0, 1 - np.arange(100.0) / 25)
        >>> low_rate(RunHistory(Run({}, (), scalars={"step": np.arange(100.0), "lr": rates})))
        (25, 0.75)
    """
    steps, rates = learning_rates(history)
    last = _last_step(history)
    if not len(rates) or last - history.first_step + 1 < FEWEST_STEPS:
        return None
    low = rates <= NEXT_TO_NOTHING * rates.max()
    high = np.flatnonzero(~low)
    first = int(high[-1]) + 1 if len(high) else 0
    if first >= len(low):
        return None
    began = float(steps[first])
    part = (last + 1 - began) / (last + 1 - history.first_step)
    return (int(began), float(part)) if part > LONG and last + 1 - began >= FEWEST_STEPS else None


def warming_up(history: RunHistory) -> bool:
    """Tell whether the learning rate rises yet at the end of the run.

    Example:
        >>> from undertow.record import Run
        >>> warming_up(RunHistory(Run({}, (), scalars={"step": np.arange(9.0), "lr": np.arange(9.0)})))
        True
    """
    rates = history.scalar("lr").values
    return len(rates) > 1 and bool(rates[-1] >= rates.max() and rates[0] < STILL_RISING * rates[-1])


def _last_step(history: RunHistory) -> float:
    lasts = [each[-1] for each in (history.steps, history.scalar("step").values) if len(each)]
    return float(max(lasts, default=0.0))


def reach_of(history: RunHistory) -> Reach | None:
    """Bound what all steps of a run together can take off the loss, to first order; None where it wasn't measured.

    |<g, dw>| <= ||g|| ||dw||, parameter by parameter (Cauchy and Schwarz).
    """
    run, loss = history.run, history.loss
    if not {"grad_norm", "update_norm"} <= set(run.parameter_columns) or not len(loss.values):
        return None
    if loss.steps[-1] - history.first_step < 0.8 * (_last_step(history) - history.first_step):
        return None  # it ceased to be finite, and what steps did until then says nothing of the rest
    gradient, moved = (np.asarray(run.parameter_columns[name], float) for name in ("grad_norm", "update_norm"))
    both = gradient * moved
    known = np.isfinite(both).any(1)
    at = np.asarray(run.parameter_steps, float)[known]
    if not len(at):
        return None
    losses = np.abs(loss.values[np.searchsorted(loss.steps, at).clip(0, len(loss.steps) - 1)])
    each = np.nansum(np.where(np.isfinite(both), both, np.nan)[known], axis=1) / np.maximum(losses, 1e-300)
    lasting = np.diff(np.append(at, _last_step(history) + 1))
    last = int(_last_step(history))
    late = float((each * lasting)[at >= (history.first_step + last) / 2].sum())
    return Reach(float(each @ lasting), last - int(history.first_step) + 1, len(at), late)


class LossLevel(NamedTuple):
    """A loss at which nothing has been learned of the inputs: ``value``, and the part of it that it may lie under."""

    value: float
    under: float = UNDER_CHANCE


def standstill(history: RunHistory, levels: Sequence[LossLevel] = ()) -> Standstill | None:
    """Tell whether the loss has not fallen beyond its own noise, over a stretch long enough to tell; None if it has.

    Medians of tenths of the run are held against the median of the first losses: none of them is lower by more than 2 %
    of it, or by more than what noise makes of such medians. A loss that came down to chance (or to a tenth under it),
    or to what the best constant answer gets, and stays there in the second half of the run has not fallen either.

    Args:
        history: of the run.
        levels: losses at which nothing has been learned, as far as they are known.

    Example:
        >>> from undertow.record import Run
        >>> losses = 2.3 + 0.1 * np.random.default_rng(0).standard_normal(200)
        >>> flat = RunHistory(Run({}, (), scalars={"step": np.arange(200.0), "loss": losses}))
        >>> falls = RunHistory(Run({}, (), scalars={"step": np.arange(200.0), "loss": losses * 0.99 ** np.arange(200)}))
        >>> standstill(flat).steps, standstill(falls)
        (200, None)
    """
    values, steps = history.loss.values, int(_last_step(history) - history.first_step) + 1
    ends_early = len(values) and history.loss.steps[-1] - history.first_step < 0.8 * (steps - 1)
    if len(values) < FEWEST_LOSSES or steps < STANDING_STEPS or ends_early:
        return None
    parts = np.array_split(values, min(len(values) // 5, PARTS))
    single = _noise(values)
    noise = 1.25 * single / float(np.sqrt(len(parts[-1])))  # the median's deviation, from a single loss's
    best = min(float(np.median(part)) for part in parts[1:])
    for start in (float(np.median(values[:5])), float(np.median(parts[0]))):
        if start - best > max(FALLEN * abs(start), DEVIATIONS * noise):
            rests = any(_rests_near(level, values, single) for level in levels)
            return Standstill(start, best, noise, steps) if rests else None
    return Standstill(float(np.median(parts[0])), best, noise, steps)


def loss_ends(history: RunHistory) -> tuple[float, float] | None:
    """Return where the loss came from and got to: medians of its first three values and of the last tenth.

    Returns:
        None where too few losses were noted.

    Example:
        >>> from undertow.record import Run
        >>> run = Run({}, (), scalars={"step": np.arange(20.0), "loss": 2.0 - 0.1 * np.arange(20.0)})
        >>> tuple(round(each, 3) for each in loss_ends(RunHistory(run)))
        (1.9, 0.2)
    """
    values = history.loss.values
    if len(values) < FEWEST_ENDS:
        return None
    return float(np.median(values[:3])), float(np.median(values[-max(len(values) // 10, 3) :]))


def _rests_near(level: LossLevel, values: Numbers, single: float) -> bool:
    """Tell whether a loss stands at a level, or a little lower, in the second half of the run."""
    second, third, last = (float(np.median(part)) for part in np.array_split(values, 4)[1:])
    noise = 1.25 * single / float(np.sqrt(len(values) / 4))
    near = all(each >= level.under * level.value for each in (third, last)) and (
        third <= (1 + COMING_DOWN) * level.value and last <= (1 + FALLEN) * level.value + 3 * noise
    )
    slows_down = last > (1 - STILL_FALLS) * level.value and third - last < SLOWS_DOWN * (second - third)
    return near and (slows_down or third - last <= max(STILL_FALLS * level.value, 3 * noise))


def _noise(values: Numbers) -> float:
    """Return the standard deviation of a loss around its neighbours, robustly: a loss that falls is no noise."""
    steps = np.diff(values)
    return 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2**0.5
