"""UT702's parts on steps that are taken so rarely that they don't count, and on steps that somebody takes back."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from undertow.analysis.loss_trend import loss_ends
from undertow.analysis.timeline import RunHistory
from undertow.record import Finding, Severity
from undertow.rules.advice.loop import left_as_stepped, stepped

MANY_PASSES, FEW_STEPS = 50, 20
FEWEST_LOOKS, MOVED, THE_SAME = 5, 1e-5, 1e-7


def rarely(history: RunHistory) -> Iterator[Finding]:
    """Report a handful of steps beside many backward passes, as where they stand behind the loop over batches."""
    idle = history.run.header.get("idle passes", {})
    each, steps = float(idle.get("usual", 1.0)), int(idle.get("steps", 0))
    if each < MANY_PASSES or not 1 < steps <= FEW_STEPS or _fell(history):
        return
    text = (
        f"The optimizer steps once in {each:,.0f} backward passes, {steps} times in all, as where step() stands behind "
        "the loop over the batches: gradients of all of them add up, and the loss has not fallen."
    )
    numbers = {"usual": each, "steps": float(steps)}
    limit = f"{FEW_STEPS} steps and fewer, of {MANY_PASSES} passes or more"
    made = replace(_found(text, numbers, limit, history), severity=Severity.WARNING)
    yield stepped(each, 1.0).on(made)


def taken_back(history: RunHistory) -> Iterator[Finding]:
    """Report weights that are again and again what they were at first, though steps move them."""
    run = history.run
    if not {"weight_norm", "update_ratio"} <= set(run.parameter_columns) or _fell(history):
        return
    weight, ratio = (np.asarray(run.parameter_columns[name], float) for name in ("weight_norm", "update_ratio"))
    known = np.isfinite(weight).all(0) & np.isfinite(ratio).all(0) & (np.isfinite(ratio) & (ratio > MOVED)).all(0)
    if len(weight) < FEWEST_LOOKS or not known.any() or known.mean() < 1 / 2:
        return
    back = np.abs(weight[1:, known] / weight[0, known] - 1) < THE_SAME
    if not back.all():
        return
    moved = float(np.median(ratio[:, known]))
    text = (
        f"Steps are taken back: at each of {len(weight):,} steps that were looked at the weights are what they were at "
        f"first, to the last digit, though a step changes them by {moved:.1g} of themselves. Somebody sets them anew."
    )
    numbers, limit = {"looks": float(len(weight)), "moved": moved}, "weights that stay where steps have brought them"
    yield left_as_stepped().on(_found(text, numbers, limit, history))


def _found(text: str, numbers: dict[str, float], limit: str, history: RunHistory) -> Finding:
    made = Finding("UT702", "steps not taken", Severity.ERROR, (), "the loop", text, numbers, limit)
    return replace(made, began=int(history.first_step), from_start=True)


def _fell(history: RunHistory) -> bool:
    """Tell whether the loss has fallen, also in a run of too few steps to tell it from noise."""
    ends = loss_ends(history)
    by_a_tenth = ends is not None and ends[1] < 0.9 * ends[0]
    return by_a_tenth or (history.loss_summary is not None and history.loss_summary.fell)
