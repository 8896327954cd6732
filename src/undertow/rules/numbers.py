"""UT103 over time: the step at which numbers ceased to be finite, and where."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Event, Finding, Severity
from undertow.rules.history import History
from undertow.rules.registry import RULES

NEVER_AGAIN = 20
"""Skipped steps in a row at the end of a run after which a scaler won't find its scale again."""


def first_nonfinite(history: History) -> Iterator[Finding]:
    """The first inf or nan of a run; steps that a loss scaler skipped are its ordinary work and don't count."""
    event = next((e for e in history.run.events if e.kind == "nonfinite" and not e.data.get("skipped")), None)
    skipped = _skipped(history)
    seen = [*_noted(history, skipped), *(s for s in history.steps[~history.finite].tolist() if s not in skipped)]
    if event is None and not seen:
        return
    step = int(min([*seen, *([event.step] if event is not None else [])]))
    known = event if event is not None and event.step == step else None
    rows = np.flatnonzero(history.steps == step)
    yield _told(history, step, known, int(rows[0]) if len(rows) else None)


def _forward(history: History, row: int | None) -> str:
    losses = history.run.steps.get("loss", np.empty(0))
    if row is None or row >= len(losses) or np.isfinite(losses[row]) or not len(history.loss.values):
        return ""
    return " The loss isn't finite either: look in the forward pass of that step, at its inputs and parameters."


def _skipped(history: History) -> set[float]:
    """Steps that a scaler skipped, and went on; not those after which it never found a scale again."""
    noted, skipped = history.scalar("step").values, history.scalar("skipped")
    steps = skipped.steps[skipped.values > 0]
    went_on = noted[~np.isin(noted, steps)].max(initial=-1.0)
    lost = steps[steps > went_on]
    return set((steps if len(lost) < NEVER_AGAIN else steps[steps <= went_on]).tolist())


def _noted(history: History, skipped: Collection[float]) -> Iterator[float]:
    flags = history.scalar("nonfinite")
    yield from (step for step in flags.steps[flags.values > 0].tolist() if step not in skipped)
    for name in ("loss", "grad_norm"):
        steps, values = history.scalar(name)
        yield from (step for step in steps[~np.isfinite(values)].tolist() if step not in skipped)


def _told(history: History, step: int, event: Event | None, row: int | None) -> Finding:
    data = event.data if event is not None else {}
    exact = bool(data.get("exact", row is not None))
    after = int(data.get("after", -1))
    when = f"At step {step:,}" if exact or after < 0 else f"After step {after:,}, and by step {step:,},"
    taped = next(RULES["UT103"].judge(Diagnosis(history.run, row)), None) if row is not None else None
    parameters = [str(name) for name in data.get("parameters", ())] or _parameters(history, step)
    numbers = {"exact": float(exact), **({"lag": float(data["lag"])} if "lag" in data else {})}
    threshold = "none is allowed"
    if taped is not None:
        text = f"{when} numbers cease to be finite. {taped.message}{_forward(history, row)}"
        sites, where, numbers = taped.sites, taped.where, {**taped.evidence, **numbers}
    else:
        why = "That step was not taped: the operation isn't known."
        if row is not None:
            why = "All gradient that was passed on is finite: what went into the forward pass there is not."
        seen = f", seen first in the gradient of {', '.join(parameters[:3])}" if parameters else ""
        text = f"{when} numbers cease to be finite{seen}. {why}"
        sites, where = _sites(history, parameters), ", ".join(parameters[:3]) or "the loss"
    from_start, over = step <= history.first_step, _over(history, step)
    severity = Severity.ERROR if over is None else Severity.WARNING
    text += "" if over is None else f" From step {over:,} on they were finite again."
    return Finding(
        "UT103",
        "inf or nan",
        severity,
        sites,
        where,
        text,
        numbers,
        threshold,
        began=step,
        from_start=from_start,
        ended=over,
    )


def _over(history: History, step: int) -> int | None:
    """The step from which on all was finite: weights were not lost, a norm overflowed or a step was mended."""
    flags = history.scalar("nonfinite")
    again = flags.steps[flags.steps > max(step, flags.steps[flags.values > 0].max(initial=-1.0))]
    return int(again[0]) if len(again) else None


def _parameters(history: History, step: int) -> list[str]:
    """Those whose gradient wasn't finite when it was first seen."""
    run = history.run
    rows = np.flatnonzero(run.parameter_steps >= step)
    if not len(rows) or "grad_norm" not in run.parameter_columns:
        return []
    bad = np.isinf(run.parameter_columns["grad_norm"][rows[0]])  # nan: there may have been no gradient
    return [run.parameters[place] for place in np.flatnonzero(bad)]


def _sites(history: History, parameters: Sequence[str]) -> tuple[int, ...]:
    return tuple(site.index for site in history.run.sites if set(site.parameters) & set(parameters))
