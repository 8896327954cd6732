"""UT103: numbers that cease to be finite; at a step, the operation; over a run, the step."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.operations import spoken
from undertow.record import Event, Finding, Severity, Site
from undertow.rules.advice import Advice
from undertow.rules.advice.cuts import against_nonfinite, against_nonfinite_inputs, find_nonfinite
from undertow.rules.nonfinite_advice import makes_nonfinite
from undertow.rules.registry import RUN, Blocks, rule
from undertow.wording import called, few

BY_ITSELF = 4
"""See `makes_nonfinite`: from here on an operation is likely to be where the forward pass lost its numbers, too."""

EVERYWHERE = "the loss"

NEVER_AGAIN = 20
"""Skipped steps in a row at the end of a run after which a scaler won't find its scale again."""


@rule(
    "UT103",
    "inf or nan",
    once_per_run=True,
    urgent=True,
    blocks_converged=Blocks.EVER,
    spoils_weights=True,
    explains=("UT101", "UT104", "UT105", "UT108", "UT109", "UT402", "UT404", "UT405", "UT704"),
)
def nonfinite(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Numbers stop being finite.

    What:
        The loss or a gradient is inf or nan. Or the forward pass makes inf, and dividing by it makes zeros of that.
    Why it is bad:
        The next step makes every weight nan. Behind zeros that inf made nothing is learned.
    Evidence:
        In the forward pass, the first operation that made inf or nan of finite numbers, with its line of source; if
        none did, the first that was handed some: an input, a parameter or a buffer that holds them already. In the
        backward pass, the first operation that received finite gradient and passed on inf or nan.
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
        yield from _swallowed(diagnosis)
        return
    origin = diagnosis.run.header.get("origin")
    if origin:
        where = origin["module"] or "the loss"
        text = f"The forward pass makes the first inf or nan in {spoken(origin['op'])}, out of finite numbers."
        found = Finding("UT103", "inf or nan", Severity.ERROR, (), where, text, threshold="none is allowed")
        found = replace(found, sites=_sites_of(diagnosis, origin), source=origin["source"])
        yield against_nonfinite(origin["op"], origin["source"], where, diagnosis.run.header).on(found)
        return
    yield _imported(diagnosis) or _backward_origin(diagnosis)


def _swallowed(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Report inf in the forward pass that a later operation made zeros of, and with it a gradient."""
    origin, zero = diagnosis.run.header.get("overflow"), diagnosis.run.header.get("zero gradients", ())
    if not origin or not zero:
        return
    where = origin["module"] or "the loss"
    text = (
        f"The forward pass makes inf in {spoken(origin['op'])}, out of finite numbers, and dividing by it makes "
        f"zeros: the loss stays finite, and {few(list(zero))} get no gradient."
    )
    made = Finding("UT103", "inf or nan", Severity.ERROR, (), where, text, threshold="none is allowed")
    made = replace(made, sites=_sites_of(diagnosis, origin), source=origin["source"])
    yield against_nonfinite(origin["op"], origin["source"], where, diagnosis.run.header).on(made)


def _sites_of(diagnosis: Diagnosis, place: Mapping[str, str]) -> tuple[int, ...]:
    """Return the Sites of an operation: torch writes ``log_`` where it works in place, ``_softmax`` inside."""
    op = place["op"].strip("_")
    return tuple(site.index for site in diagnosis.run.sites if site.module == place["module"] and site.op == op)


def _imported(diagnosis: Diagnosis) -> Finding | None:
    """Return what was not finite before anything was computed, if that is why the loss isn't."""
    found, loss = diagnosis.run.header.get("imported"), diagnosis.run.header.get("loss", 0.0)
    if found is None or np.isfinite(loss):
        return None
    what = f"{found['what'][0].upper()}{found['what'][1:]}"
    text = f"{what} holds inf or nan already: no operation made them out of finite numbers. They come in at "
    text += f"{spoken(found['op'])}{' of ' + found['module'] if found['module'] else ''}."
    where = "the inputs" if found["what"] == "an input" else found["what"].rpartition(" ")[2]
    made = Finding("UT103", "inf or nan", Severity.ERROR, (), where, text, threshold="none is allowed")
    made = replace(made, sites=_sites_of(diagnosis, found), source=found["source"])
    return against_nonfinite_inputs(found["what"], where).on(made)


def _backward_origin(diagnosis: Diagnosis) -> Finding:
    run, counted, received = diagnosis.run, diagnosis.column("nonfinite"), diagnosis.column("grad_output")
    bad = (counted > 0) | ~np.isfinite(received)
    crossing = [n for n, e in enumerate(run.edges) if bad[e.target] and not bad[e.source]]
    # Where several meet, the one that brings it: beside sqrt's nan others may arrive that are finite.
    finite = np.isfinite(run.edge_column("contribution", diagnosis.step))
    guilty = min((n for n in crossing), key=lambda n: (bool(finite[n]), n), default=None)
    if guilty is None:
        text = "Inputs or parameters hold inf or nan already: no operation made them out of finite numbers."
        made = Finding("UT103", "inf or nan", Severity.ERROR, (), "the inputs", text, threshold="none is allowed")
        return against_nonfinite_inputs("an input", "the inputs").on(made)
    guilty, target = run.edges[guilty].source, run.edges[guilty].target
    text = f"The backward pass of {diagnosis.name(guilty)} receives finite gradient and passes on inf or nan."
    numbers = {"received": float(received[guilty]), "not finite": float(np.nan_to_num(counted[target]))}
    where, site = diagnosis.name(guilty), run.sites[guilty]
    made = Finding("UT103", "inf or nan", Severity.ERROR, (guilty,), where, text, numbers, "none is allowed")
    return against_nonfinite(site.op, site.source, called(run, site), run.header).on(made)


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


def _forward(history: RunHistory, step: int, row: int | None, passed_on_by: Site | None = None) -> str:
    """Say of a step whose loss isn't finite that it was lost in the forward pass, and where, if that is known."""
    finite = _weights_are_finite(history, step)
    weights = "" if finite is None else f", with weights that were {'still finite' if finite else 'not finite already'}"
    place = "" if row is None else _forward_place(history, row)
    text = f"the loss is not finite: it was lost in the forward pass{weights}.{place}"
    if passed_on_by is None:
        return text if place else f"{text} The operation isn't known: examine() that batch."
    return f"{text} On the way back {passed_on_by.name} is the first to pass on inf or nan."


def _loss_is_lost(history: RunHistory, step: int, row: int | None) -> bool:
    flags = history.scalar("loss_nonfinite")
    if step in flags.steps[flags.values > 0]:
        return True
    losses = history.run.steps.get("loss", np.empty(0))
    return row is not None and row < len(losses) and not np.isfinite(losses[row]) and len(history.loss.values) > 0


def _weights_are_finite(history: RunHistory, step: int) -> bool | None:
    """Tell whether all weights were finite before a step; None if that step wasn't a full one."""
    run, rows = history.run, np.flatnonzero(history.run.parameter_steps == step)
    if not len(rows) or not {"weight_norm", "lr"} <= set(run.parameter_columns):
        return None
    read = ~np.isnan(run.parameter_columns["lr"][rows[0]])
    return bool(np.isfinite(run.parameter_columns["weight_norm"][rows[0]][read]).all()) if read.any() else None


def _forward_place(history: RunHistory, row: int) -> str:
    """Say where in the forward pass numbers were finite yet, by what came into layers and activations."""
    lost = _inputs_lost(history, row)
    if not lost.any():
        return ""
    run = history.run
    return f" What comes into {run.sites[int(np.flatnonzero(lost)[-1])].name} is not finite there."


def _inputs_lost(history: RunHistory, row: int) -> NDArray[np.bool_]:
    """Return of every Site whether what came into it is known not to have been finite, [sites]."""
    lost = np.zeros(len(history.run.sites), bool)
    for name in ("derivative_rms", "input_rms"):
        column = history.run.columns.get(name)
        if column is None or np.isnan(column[row]).all():
            continue
        measured = np.isfinite(column).any(0)  # nan where it was measured at other steps: it isn't finite
        lost |= measured & ~np.isfinite(column[row])
    return lost


def _skipped(history: RunHistory) -> set[float]:
    """Return the steps that a scaler skipped, and went on; not those after which it never found a scale again."""
    noted, skipped = history.scalar("step").values, history.scalar("skipped")
    steps = skipped.steps[skipped.values > 0]
    went_on = noted[~np.isin(noted, steps)].max(initial=-1.0)
    lost = steps[steps > went_on]
    ordinary = set((steps if len(lost) < NEVER_AGAIN else steps[steps <= went_on]).tolist())
    losses = history.scalar("loss_nonfinite")
    return ordinary - set(losses.steps[losses.values > 0].tolist())  # a loss that isn't finite no scale can mend


def _noted(history: RunHistory, skipped: Collection[float]) -> Iterator[float]:
    for name in ("nonfinite", "loss_nonfinite"):
        flags = history.scalar(name)
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
    lost = _loss_is_lost(history, step, row)
    if taped is not None:
        site = history.run.sites[taped.sites[0]] if taped.sites else None
        forward = _forward(history, step, row, site) if lost else ""
        text = f"{when} {forward or f'numbers cease to be finite. {taped.message}'}"
        sites, where, numbers = taped.sites, taped.where, {**taped.evidence, **numbers}
    else:
        why = "That step was not measured in full: the operation isn't known."
        if row is not None:
            why = "All gradient that was passed on is finite: what went into the forward pass there is not."
        seen = _seen(parameters)
        text = f"{when} {_forward(history, step, row) if lost else f'numbers cease to be finite{seen}. {why}'}"
        sites, where = _sites(history, parameters), _place(parameters)
    from_start, over = step <= history.first_step, _over(history, step)
    severity = Severity.ERROR if over is None else Severity.WARNING
    text += "" if over is None else f" From step {over:,} on they were finite again."
    made = Finding(
        "UT103", "inf or nan", severity, sites, where, text, numbers, threshold, began=step,
        from_start=from_start, ended=over,
    )  # fmt: skip
    return _advice(history, taped, lost, step, where).on(made)


def _advice(history: RunHistory, taped: Finding | None, lost: bool, step: int, where: str) -> Advice:
    """Return what the operation asks for, where it is known and to blame; else how to find it."""
    site = history.run.sites[taped.sites[0]] if taped is not None and taped.sites else None
    if site is not None and lost and makes_nonfinite(site.op) < BY_ITSELF:
        site = None
    if site is not None:
        return against_nonfinite(site.op, site.source, called(history.run, site), history.run.header)
    if taped is not None and taped.advice and not lost:
        return Advice(taped.advice, taped.snippet, taped.starts_again)
    return find_nonfinite(step, where, history.run.header)


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


def _seen(parameters: Sequence[str]) -> str:
    """Say where it was seen first: by name, if that is a place in the network; most often it is everywhere."""
    if not parameters:
        return ""
    place = ", ".join(parameters) if _place(parameters) != EVERYWHERE else f"{len(parameters)} parameters"
    return f", seen first in the gradient of {place}"


def _place(parameters: Sequence[str]) -> str:
    """Return parameters of one module as a place."""
    modules = {name.rpartition(".")[0] for name in parameters}
    return ", ".join(parameters) if len(modules) == 1 else EVERYWHERE


def _sites(history: RunHistory, parameters: Sequence[str]) -> tuple[int, ...]:
    return tuple(site.index for site in history.run.sites if set(site.parameters) & set(parameters))
