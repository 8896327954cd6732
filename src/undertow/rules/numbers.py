"""UT103 over time: the step at which numbers ceased to be finite, and where."""

from collections.abc import Iterator, Sequence

import numpy as np

from undertow.record import Event, Finding, Severity
from undertow.rules.evidence import Evidence
from undertow.rules.history import History
from undertow.rules.registry import RULES


def first_nonfinite(history: History) -> Iterator[Finding]:
    """The first inf or nan of a run; steps that a loss scaler skipped are its ordinary work and don't count."""
    event = next((e for e in history.run.events if e.kind == "nonfinite" and not e.data.get("skipped")), None)
    noted, bad_rows = _first_noted(history), np.flatnonzero(~history.finite)
    seen = [step for step in (noted, *history.steps[bad_rows[:1]].tolist()) if step is not None]
    if event is None and not seen:
        return
    step = int(min([*seen, *([event.step] if event is not None else [])]))
    known = event if event is not None and event.step == step else None
    rows = np.flatnonzero(history.steps == step)
    yield _told(history, step, known, int(rows[0]) if len(rows) else None)


def _first_noted(history: History) -> float | None:
    flags, skipped = history.scalar("nonfinite"), history.scalar("skipped")
    over = set(skipped.steps[skipped.values > 0].tolist())
    firsts = [step for step, flag in zip(*flags, strict=True) if flag > 0 and step not in over][:1]
    for name in ("loss", "grad_norm"):
        series = history.scalar(name)
        firsts += [step for step in series.steps[~np.isfinite(series.values)].tolist() if step not in over][:1]
    return min(firsts, default=None)


def _told(history: History, step: int, event: Event | None, row: int | None) -> Finding:
    data = event.data if event is not None else {}
    exact = bool(data.get("exact", row is not None))
    after = int(data.get("after", -1))
    when = f"At step {step:,}" if exact or after < 0 else f"After step {after:,}, and by step {step:,},"
    taped = next(RULES["UT103"].judge(Evidence(history.run, row)), None) if row is not None else None
    parameters = [str(name) for name in data.get("parameters", ())] or _parameters(history, step)
    numbers = {"exact": float(exact), **({"lag": float(data["lag"])} if "lag" in data else {})}
    threshold = "none is allowed"
    if taped is not None:
        text = f"{when} numbers cease to be finite. {taped.message}"
        sites, where, numbers = taped.sites, taped.where, {**taped.evidence, **numbers}
    else:
        seen = f", seen first in the gradient of {', '.join(parameters[:3])}" if parameters else ""
        text = f"{when} numbers cease to be finite{seen}. That step was not taped: the operation isn't known."
        sites, where = _sites(history, parameters), ", ".join(parameters[:3]) or "the loss"
    born = step <= history.first_step
    return Finding("UT103", "inf or nan", Severity.ERROR, sites, where, text, numbers, threshold, began=step, born=born)


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
