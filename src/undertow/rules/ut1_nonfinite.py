"""UT103: numbers that cease to be finite; at a step, the operation; over a run, the step."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Event, Finding, Severity
from undertow.rules.registry import RUN, Blocks, rule

NEVER_AGAIN = 20
"""Skipped steps in a row at the end of a run after which a scaler won't find its scale again."""


@rule("UT103", "inf or nan", once_per_run=True, urgent=True, blocks_converged=Blocks.EVER)
def nonfinite(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Numbers stop being finite.

    What:
        The loss or a gradient is inf or nan.
    Why it is bad:
        The next step makes every weight nan.
    Evidence:
        In the forward pass, the first operation that made inf or nan of finite numbers, with its line of source. In
        the backward pass, the first operation that received finite gradient and passed on inf or nan.
    Threshold:
        A single one. Over a run: the step of the first, not counting those that a loss scaler skipped; the operation
        if that step was taped, else the parameters whose gradient it was first seen in.
    What to do:
        Keep log, sqrt, division and exp away from where they or their derivatives are infinite (clamp, add a small
        number *inside*, use log_softmax or logsumexp); for float16, scale the loss.
    References:
        PyTorch documentation, autograd mechanics: gradients at points where a function isn't differentiable.
    """
    if diagnosis.finite:
        return
    origin = diagnosis.run.header.get("origin")
    if origin:
        where = origin["module"] or "the loss"
        text = f"The forward pass makes the first inf or nan in {origin['op']}."
        sites = tuple(s.index for s in diagnosis.run.sites if s.module == origin["module"] and s.op == origin["op"])
        found = Finding("UT103", "inf or nan", Severity.ERROR, sites, where, text, threshold="none is allowed")
        yield replace(found, source=origin["source"])
        return
    yield _backward_origin(diagnosis)


def _backward_origin(diagnosis: Diagnosis) -> Finding:
    run, counted, received = diagnosis.run, diagnosis.column("nonfinite"), diagnosis.column("grad_output")
    bad = (counted > 0) | ~np.isfinite(received)
    crossing = [n for n, e in enumerate(run.edges) if bad[e.target] and not bad[e.source]]
    # Where several meet, the one that brings it: beside sqrt's nan others may arrive that are finite.
    finite = np.isfinite(run.edge_column("contribution", diagnosis.step))
    guilty = min((n for n in crossing), key=lambda n: (bool(finite[n]), n), default=None)
    if guilty is None:
        text = "Inputs or parameters hold inf or nan already: no operation made them out of finite numbers."
        return Finding("UT103", "inf or nan", Severity.ERROR, (), "the inputs", text, threshold="none is allowed")
    guilty, target = run.edges[guilty].source, run.edges[guilty].target
    text = f"The backward pass of {diagnosis.name(guilty)} receives finite gradient and passes on inf or nan."
    numbers = {"received": float(received[guilty]), "not finite": float(np.nan_to_num(counted[target]))}
    return Finding(
        "UT103",
        "inf or nan",
        Severity.ERROR,
        (guilty,),
        diagnosis.name(guilty),
        text,
        numbers,
        "none is allowed",
    )


@rule("UT103", "inf or nan", over=RUN)
def first_nonfinite(history: RunHistory) -> Iterator[Finding]:
    """Report the first inf or nan of a run; steps that a loss scaler skipped are its ordinary work and don't count."""
    event = next((e for e in history.run.events if e.kind == "nonfinite" and not e.data.get("skipped")), None)
    skipped = _skipped(history)
    seen = [*_noted(history, skipped), *(s for s in history.steps[~history.finite].tolist() if s not in skipped)]
    if event is None and not seen:
        return
    step = int(min([*seen, *([event.step] if event is not None else [])]))
    known = event if event is not None and event.step == step else None
    rows = np.flatnonzero(history.steps == step)
    yield _finding(history, step, known, int(rows[0]) if len(rows) else None)


def _forward(history: RunHistory, row: int | None) -> str:
    losses = history.run.steps.get("loss", np.empty(0))
    if row is None or row >= len(losses) or np.isfinite(losses[row]) or not len(history.loss.values):
        return ""
    return " The loss isn't finite either: look in the forward pass of that step, at its inputs and parameters."


def _skipped(history: RunHistory) -> set[float]:
    """Return the steps that a scaler skipped, and went on; not those after which it never found a scale again."""
    noted, skipped = history.scalar("step").values, history.scalar("skipped")
    steps = skipped.steps[skipped.values > 0]
    went_on = noted[~np.isin(noted, steps)].max(initial=-1.0)
    lost = steps[steps > went_on]
    return set((steps if len(lost) < NEVER_AGAIN else steps[steps <= went_on]).tolist())


def _noted(history: RunHistory, skipped: Collection[float]) -> Iterator[float]:
    flags = history.scalar("nonfinite")
    yield from (step for step in flags.steps[flags.values > 0].tolist() if step not in skipped)
    for name in ("loss", "grad_norm"):
        steps, values = history.scalar(name)
        yield from (step for step in steps[~np.isfinite(values)].tolist() if step not in skipped)


def _finding(history: RunHistory, step: int, event: Event | None, row: int | None) -> Finding:
    data = event.data if event is not None else {}
    exact = bool(data.get("exact", row is not None))
    after = int(data.get("after", -1))
    when = f"At step {step:,}" if exact or after < 0 else f"After step {after:,}, and by step {step:,},"
    taped = next(nonfinite(Diagnosis(history.run, row)), None) if row is not None else None
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


def _over(history: RunHistory, step: int) -> int | None:
    """Return the step from which on all was finite: weights were not lost, a norm overflowed or a step was mended."""
    flags = history.scalar("nonfinite")
    again = flags.steps[flags.steps > max(step, flags.steps[flags.values > 0].max(initial=-1.0))]
    return int(again[0]) if len(again) else None


def _parameters(history: RunHistory, step: int) -> list[str]:
    """Return the parameters whose gradient wasn't finite when it was first seen."""
    run = history.run
    rows = np.flatnonzero(run.parameter_steps >= step)
    if not len(rows) or "grad_norm" not in run.parameter_columns:
        return []
    bad = np.isinf(run.parameter_columns["grad_norm"][rows[0]])  # nan: there may have been no gradient
    return [run.parameters[place] for place in np.flatnonzero(bad)]


def _sites(history: RunHistory, parameters: Sequence[str]) -> tuple[int, ...]:
    return tuple(site.index for site in history.run.sites if set(site.parameters) & set(parameters))
