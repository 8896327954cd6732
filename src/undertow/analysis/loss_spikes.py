"""Find losses that jump, and what moved first."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from undertow.analysis.timeline import Numbers, RunHistory
from undertow.record import Role

WINDOW = 40
SETTLED = 15
DEVIATIONS, RISE = 8.0, 0.5
STARTS = 2.0
MEMORY, PAST_LASTING, PAST_SINGLE = 500, 2.0, 3.0
LOOK_BACK, LONGEST_LEAD = 12, 50
MOVED, MOVED_DEVIATIONS = 3.0, 5.0
PART_OF_LARGEST = 0.2
FEWEST_BEFORE = 5
MOST_TOLD = 3


@dataclass(frozen=True)
class Spike:
    """Notes ``first`` to ``last`` of the loss, and what it was ``before``."""

    first: int
    last: int
    before: float


@dataclass(frozen=True)
class Mover:
    """Something that jumped: its name, at which step, and to how many times what was usual."""

    name: str
    step: int
    factor: float
    sites: tuple[int, ...]


def spikes_of(values: Numbers) -> list[Spike]:
    """Find where a series jumps up and stays up for a while.

    Example:
        >>> spikes_of(np.array([1.0, 1.1] * 20 + [5.0, 4.0, 2.0] + [1.0] * 20))
        [Spike(first=40, last=42, before=1.05)]
    """
    found: list[Spike] = []
    usual, limit = _limits(values)
    excess = np.where(np.isfinite(limit), values - usual, 0.0)
    lasting = np.minimum(excess, np.append(excess[1:], -np.inf))
    start = max(float(np.median(values[:5])), 0.0) if len(values) else 0.0
    over = -1
    for place in np.flatnonzero(values > limit).tolist():
        if place <= over:
            continue
        over = place
        while over + 1 < len(values) and values[over + 1] > limit[place]:
            over += 1
        memory = slice(max(place - MEMORY, 0), place)
        lasts = lasting[place : over + 1].max() > PAST_LASTING * lasting[memory][:-1].max(initial=0.0)
        throws = excess[place] > PAST_SINGLE * excess[memory].max(initial=0.0)
        if (over > place and lasts) or (throws and values[place] > STARTS * max(start, usual[place])):
            found.append(Spike(place, over, float(usual[place])))
    return found


def _limits(values: Numbers) -> tuple[Numbers, Numbers]:
    """Return for every note the median of those before it and its limit, inf where there are too few, [notes]."""
    usual, limit = np.zeros(len(values)), np.full(len(values), np.inf)
    for place in range(SETTLED, min(WINDOW, len(values))):
        usual[place], limit[place] = (each[0] for each in _limits_of(values[None, :place]))
    if len(values) > WINDOW:
        windows = np.lib.stride_tricks.sliding_window_view(values[:-1], WINDOW)
        for part in range(0, len(windows), 8192):
            after = slice(WINDOW + part, WINDOW + part + 8192)
            usual[after], limit[after] = _limits_of(windows[part : part + 8192])
    return usual, limit


def _limits_of(windows: Numbers) -> tuple[Numbers, Numbers]:
    usual = np.median(windows, 1)
    around = 1.4826 * np.median(np.abs(windows - usual[:, None]), 1)
    steps = np.diff(windows, axis=1)
    between = 1.4826 * np.median(np.abs(steps - np.median(steps, 1)[:, None]), 1) / 2**0.5
    noise = np.maximum(between, 0.5 * around)  # of neighbours: a loss that falls is no noise
    return usual, usual + np.maximum(DEVIATIONS * noise, RISE * np.abs(usual))


def moved_first(history: RunHistory, began: int) -> list[Mover]:
    """Find which updates and gradients of parameters jumped first, shortly before the loss did; the largest first.

    Where nothing did, what jumped together with the loss: then it was the batch.
    """
    found = [*_parameters(history, began), *_sites(history, began)]
    before = [mover for mover in found if mover.step < began] or found
    largest = max((mover.factor for mover in before), default=0.0)
    strong = [mover for mover in before if mover.factor >= PART_OF_LARGEST * largest]
    first = min((mover.step for mover in strong), default=0)
    return sorted((m for m in strong if m.step == first), key=lambda mover: -mover.factor)[:MOST_TOLD]


def recorded_before(history: RunHistory, began: int) -> int:
    """Count the recorded steps shortly before ``began``; 0 if there are too few before them to say what is usual."""
    steps = history.run.parameter_steps if len(history.run.parameter_steps) else history.steps
    start, _ = _window(steps, began)
    return int(np.searchsorted(steps, began)) - start if start >= FEWEST_BEFORE else 0


def _window(steps: Numbers, began: int) -> tuple[int, int]:
    """Return the place of the first recorded step shortly before ``began``, and that after ``began`` itself."""
    end = int(np.searchsorted(steps, began, side="right"))
    return max(end - LOOK_BACK, int(np.searchsorted(steps, began - LONGEST_LEAD))), end


def _parameters(history: RunHistory, began: int) -> Iterator[Mover]:
    run = history.run
    for column, what in (("update_norm", "update of"), ("grad_norm", "gradient of")):
        if column not in run.parameter_columns:
            continue
        for place, step, factor in _jumps(run.parameter_columns[column], run.parameter_steps, began):
            name = run.parameters[place]
            sites = tuple(site.index for site in run.sites if name in site.parameters)
            yield Mover(f"{what} {name}", step, factor, sites)


def _sites(history: RunHistory, began: int) -> Iterator[Mover]:
    """Find jumps of the gradient at Sites, where parameters weren't read."""
    run = history.run
    places = [site.index for site in run.sites if site.role in (Role.WEIGHT, Role.ATTENTION)]
    if "grad_output" not in run.columns or len(run.parameter_steps):
        return
    for place, step, factor in _jumps(run.columns["grad_output"][:, places], history.steps, began):
        yield Mover(f"gradient at {run.sites[places[place]].name}", step, factor, (places[place],))


def _jumps(column: Numbers, steps: Numbers, began: int) -> Iterator[tuple[int, int, float]]:
    """Yield what jumped shortly up to ``began``: its place, its step and by which factor, step by step."""
    start, end = _window(steps, began)
    before = np.asarray(column[max(start - WINDOW, 0) : start], float)
    recent = np.asarray(column[start:end], float)
    if not len(recent) or len(before) < FEWEST_BEFORE:
        return
    with np.errstate(all="ignore"):
        levels, now = np.log10(np.where(before > 0, before, 1.0)), np.log10(np.where(recent > 0, recent, 1.0))
        usual = np.median(levels, axis=0)
        noise = 1.4826 * np.median(np.abs(levels - usual), axis=0)
    read = (before > 0).all(0)
    rises = np.where(read & np.isfinite(now), now - usual, 0.0)
    for row, place in zip(*np.nonzero(rises >= np.maximum(np.log10(MOVED), MOVED_DEVIATIONS * noise)), strict=True):
        yield int(place), int(steps[start + row]), float(10 ** min(rises[row, place], 300.0))
