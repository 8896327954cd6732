"""UT108: gradient that reached the front and then got lost."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.gradient_path import decades
from undertow.analysis.timeline import Numbers, RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.rules.advice.steps import from_before
from undertow.rules.registry import RUN, Blocks, rule
from undertow.rules.ut6_healthy import before_norm
from undertow.wording import called, sentence, size, times_of_decades

COLLAPSED_BY = 2.0
FEWEST_ROWS = 8
LASTING = 3
STILL_AS_HIGH, LEARNED = 0.9, 0.02
SMALLEST = -100.0
"""Decades under which there are no weights to speak of."""


@rule(
    "UT108",
    "collapsed",
    over=RUN,
    explains=("UT101", "UT104", "UT704"),
    blocks_converged=Blocks.EVER,
    spoils_weights=True,
)
def collapsed(history: RunHistory) -> Iterator[Finding]:
    """The front layers had their gradient, and lost it while there was still something to learn.

    What:
        From some step on, what reaches the front of the network is a small part of what reached it before, measured
        against the gradient at its last layer, and the loss has not fallen since.
    Why it is bad:
        The network no longer trains as a whole: units have died or saturated for every input, or all inputs are
        mapped to the same output. Seldom does it come back by itself. (Neither *converged*, where the loss is low and
        the gradient small everywhere; nor *born vanished*, where it never reached the front: see UT101.)
    Evidence:
        ``before`` and ``after``: decades from the gradient path's last layer to its front, medians; ``loss before``,
        ``loss after``.
    Threshold:
        Two decades less than at the first step, and in the first tenth of the taped ones, up to the end of the run,
        over three taped steps or more (where a normalisation follows the front, its gradient times the size of its
        weights); and the loss since then is not under 0.9 of what it was just before, nor at rest
        under a fiftieth of what it was at first. Healthy
        runs of ours moved by less than one decade, also while their loss fell by four; healthy transformers by up to
        1.5 in their first hundred steps, and came back.
    What to do:
        Look at the steps just before: a learning rate that is too large, a missing warm-up, a batch unlike the others
        (UT405). Go back to a checkpoint from before, with a smaller learning rate or clipping.
    References:
        Lu et al. 2019 (dying ReLU); Dong, Cordonnier, Loukas 2021 (attention loses rank with depth).
    """
    reach = _reach(history)
    if reach is None:
        return
    rows, levels = reach
    before = max(float(levels[0]), float(np.median(levels[: max(len(levels) // 10, LASTING)])))
    start = _lasting_from(levels < before - COLLAPSED_BY)
    if start is None or start == 0:
        return
    began = int(history.steps[rows[start]])
    old, new = _losses_around(history, began)
    if np.isfinite(old) and (new < STILL_AS_HIGH * old or new == old == 0):
        return  # it fell on, or there is nothing left to learn
    if has_learned(history, began, new):
        return
    after = float(np.median(levels[start:]))
    numbers = {"before": before, "after": after, "loss before": old, "loss after": new}
    less = "no gradient any more" if after < -100 else f"{times_of_decades(after - before)} gradient than at first"
    loss = f", and the loss stays at {size(new)} ({size(old)} before)" if np.isfinite(old) else ""
    sites = _ends(history)
    front = called(history.run, history.run.sites[sites[1]])
    text = f"{sentence(front)} and the layers next to it get {less}{loss}."
    limit = f"{COLLAPSED_BY:.0f} decades less between the last layer and the front than at first, up to the end"
    where = " -> ".join(history.run.sites[site].name for site in sites)
    found = Finding("UT108", "collapsed", Severity.ERROR, sites, where, text, numbers, limit, began=began)
    norms = history.scalar("grad_norm")
    usual = norms.values[(norms.steps < began) & np.isfinite(norms.values)]
    norm = float(np.median(usual)) if len(usual) else None
    yield from_before(began, history.run.header, norm).on(found)


def has_learned(history: RunHistory, began: int, loss: float) -> bool:
    """Tell whether the loss had come to rest before a step, at a small part of what it began with.

    Example:
        >>> has_learned(RunHistory(Run({}, ())), 10, 0.1)
        False
    """
    summary, values = history.loss_summary, history.loss.values
    rests = summary is not None and summary.fell and summary.settled is not None and summary.settled <= began
    return bool(rests and len(values) and loss < LEARNED * abs(float(np.median(values[:3]))))


def _ends(history: RunHistory) -> tuple[int, ...]:
    """Return the gradient path's first and last waypoint, as it was at the first step."""
    rows = np.flatnonzero(history.finite)
    gradient_path = Diagnosis(history.run, int(rows[0])).gradient_path if len(rows) else None
    return (
        (gradient_path.waypoints[0], gradient_path.waypoints[-1])
        if gradient_path is not None and len(gradient_path.waypoints) > 1
        else ()
    )


def _reach(history: RunHistory) -> tuple[NDArray[np.intp], Numbers] | None:
    """Return the finite rows and the decades from the last layer to the front; None where that can't be told."""
    ends, rows = _ends(history), np.flatnonzero(history.finite)
    if not ends or len(rows) < FEWEST_ROWS or "grad_output" not in history.run.columns:
        return None
    received = np.asarray(history.run.columns["grad_output"][rows], float)
    levels = decades(received[:, ends[1]]) - decades(received[:, ends[0]]) + _grown(history.run, rows, ends[1])
    silent = ~received[:, 1:].any(1)
    # With no gradient anywhere nothing reaches the front, whatever the ratio of two zeros.
    return rows, np.where(silent, -300.0, levels)


def _grown(run: Run, rows: NDArray[np.intp], front: int) -> Numbers:
    """Return the decades by which weights right in front of a normalisation have grown: its gradient falls as they do.

    Nothing is lost by that: their direction learns as before. Embeddings that start near 0 do it in their first steps.
    """
    site, column = run.sites[front], run.parameter_columns.get("weight_norm")
    own = [run.parameters.index(name) for name in site.parameters if name in run.parameters]
    if column is None or not own or not run.incoming[front] or not before_norm(run, site):
        return np.zeros(len(rows))
    steps, at = np.asarray(run.parameter_steps, float), run.steps["step"][rows]
    places = np.searchsorted(steps, at).clip(0, len(steps) - 1)
    sizes = decades(np.sqrt(np.square(np.asarray(column[places][:, own], float)).sum(1)))
    known = np.isfinite(sizes) & (sizes > SMALLEST) & (steps[places] == at)
    return np.where(known, sizes - sizes[known][0], 0.0) if known.any() else np.zeros(len(rows))


def _lasting_from(low: NDArray[np.bool_]) -> int | None:
    """Find from where on it holds up to the end, single steps excepted; None if not over the last few."""
    if low[-LASTING:].sum() < LASTING - 1:
        return None
    start = len(low)
    while start > 0 and low[max(start - LASTING, 0) : start].mean() > 0.5:
        start -= 1
    while start > 0 and low[start - 1]:
        start -= 1
    while start < len(low) and not low[start]:
        start += 1
    return start if len(low) - start >= LASTING else None


def _losses_around(history: RunHistory, step: int) -> tuple[float, float]:
    """Return the median loss of the twenty notes before a step (or after it, if less), and of the last fifth after it.

    A run's first steps may throw the loss up from where it began, and it would come down from there anyway.
    """
    steps, values = history.loss
    before, after = values[steps < step][-20:], values[steps >= step]
    if not len(before) or not len(after):
        return float("nan"), float("nan")
    old = min(float(np.median(before)), float(np.median(after[:20])))
    return old, float(np.median(after[-max(len(after) // 5, 5) :]))
