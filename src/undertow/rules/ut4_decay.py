"""UT409: weight decay that makes most of the step."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.analysis.timeline import Numbers, RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Run, Severity
from undertow.rules.advice.steps import optimizer_of, weaker_decay
from undertow.rules.registry import RUN, Blocks, rule
from undertow.rules.ut6_healthy import CANCELLING_BELOW, cancelling_ratio
from undertow.wording import amount

NAME = "decay dominates"
PULLS, MATRICES = 1.0, 0.5
USUAL = 1e-3
SHRUNK, GONE = 0.5, 0.1
OVERWHELMS, SHRINKING = 3.0, 0.8
"""Times that decay pulls as hard as the loss, from which on weights that have lost a fifth will lose the rest."""

FEWEST_ROWS = 5
MOSTLY = 0.5
MATTERS = 1e-4
"""Part of its norm that the weights lose to decay in a step, under which thousands of steps hardly show it."""

FORGETS = 0.01
"""The same, from which on what was learned a hundred steps ago is gone."""

LASTING = 1e-3
"""The same, of which the advice takes a tenth."""


@rule(
    "UT409",
    NAME,
    header=("decay",),
    once_per_run=True,
    blocks_converged=Blocks.EVER,
    explains=(
        "UT101",
        "UT104",
        "UT105",
        "UT108",
        "UT109",
        "UT202",
        "UT205",
        "UT401",
        "UT402",
        "UT404",
        "UT406",
        "UT704",
    ),
)
def decay_dominates(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Most of the optimizer's step is weight decay: the weights shrink, whatever the loss wants.

    What:
        The step differs from the step without weight decay by more than that step's own length, in most matrices.
    Why it is bad:
        The weights go to zero, layer by layer, and with them the signal and the gradient: the network answers
        everything alike. Under Adam that takes little: where decay is added to the gradient (L2), Adam divides both by
        the gradient's usual size, so that decay counts as much as the loss as soon as ``weight_decay x w`` is as large
        as the gradient, however small both are.
    Evidence:
        ``pull``: ||step - step without decay|| / ||step without decay||, over all matrices; ``matrices``: the part of
        them in which that is more than 1; ``shrinks``: the part of its norm that the weights lose to decay in a step.
        Over a run: ``left``, the median matrix's norm at the end as a part of what it was; ``pull``, weight_decay
        ||w|| / ||g|| (times the learning rate and over ||dw||, where decay isn't part of the gradient).
    Threshold:
        pull >= 1 in all, and in half of the matrices, that shrink by 1e-4 a step or more, while the examples' gradients
        don't cancel (at a minimum decay and gradient balance, and both are small); a note up to a decay of 0.001, as
        then it is the gradient that is small. Or the weights shrink by 1 % a step, whatever the loss does: usual are
        1e-6 to 1e-4. Over a run: pull >= 1 in half of the full steps, and half of the matrices that no normalisation
        follows lost half of their norm (a fifth, where decay pulls three times as hard); an error if nine tenths.
        AdamW at 0.01 was seen at 0.001, SGD at 5e-4 under 0.05; Adam with 0.05 in a depth network at 1.6, and it
        answered everything alike after 200 steps. A small network for digits under AdamW at 10, 3 % a step, stayed at a
        loss of 1.5, at 0.05 it came to 0.04.
    What to do:
        A smaller weight_decay: 1e-5 to 1e-4 in Adam, 1e-4 to 5e-4 in SGD. Or AdamW, whose decay doesn't compete with
        the gradient, at 0.01 to 0.1 with usual learning rates.
    References:
        Loshchilov, Hutter 2019 (decoupled weight decay regularization), section 2; SfMLearner, issue 34; Caffe, issue
        1396.
    """
    decay: Mapping[str, Any] = diagnosis.run.header["decay"]
    numbers = {key: float(decay.get(key, 0.0)) for key in ("pull", "matrices", "shrinks")}
    ratio = cancelling_ratio(diagnosis)
    if not diagnosis.finite or (ratio or 1.0) < CANCELLING_BELOW:
        return
    dominates = numbers["pull"] >= PULLS and numbers["matrices"] >= MATRICES and numbers["shrinks"] >= MATTERS
    if dominates:
        yield _at_a_step(diagnosis, decay, numbers)
    elif numbers["shrinks"] >= FORGETS:
        yield _forgetting(diagnosis.run.header, numbers)


def _at_a_step(diagnosis: Diagnosis, decay: Mapping[str, Any], numbers: Mapping[str, float]) -> Finding:
    text = (
        f"Weight decay of {decay['weight_decay']:g} makes more of a step of {optimizer_of(diagnosis.run.header)} "
        f"than the loss does, {amount(numbers['pull'])} times as much: the weights shrink by "
        f"{numbers['shrinks']:.1%} a step."
    )
    limit = f"||step - step without decay|| >= ||step without decay||, in {MATRICES:.0%} of the matrices"
    severity = Severity.WARNING
    if decay["weight_decay"] <= USUAL:
        severity, text = Severity.NOTE, f"{text} It is of a usual size: the gradient is small."
    found = Finding("UT409", NAME, severity, (), "the optimizer", text, numbers, limit)
    return weaker_decay(diagnosis.run.header, numbers["pull"]).on(found)


def _forgetting(header: Mapping[str, Any], numbers: Mapping[str, float]) -> Finding:
    shrinks = numbers["shrinks"]
    text = (
        f"Weight decay of {header['decay']['weight_decay']:g} takes {shrinks:.1%} of the weights in every step: what "
        f"was learned more than {1 / shrinks:,.0f} steps ago is gone."
    )
    limit, equation = f"under {FORGETS:.0%} of the weights' norm a step", "w <- (1 - lr lambda) w"
    found = Finding("UT409", NAME, Severity.WARNING, (), "the optimizer", text, numbers, limit, equation)
    return weaker_decay(header, shrinks / LASTING).on(found)


@rule("UT409", NAME, over=RUN)
def decay_over_time(history: RunHistory) -> Iterator[Finding]:
    """Weight decay has made most of a run's steps, and the weights have shrunk."""
    found = _shrinking(history)
    if found is None:
        yield from _forgets(history)
        return
    names, left, pull, row = found
    weight_decay = float(history.run.header["decay"]["weight_decay"])
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = (
        f"Weight decay of {weight_decay:g} pulls {amount(pull)} times as hard as the loss: {shown} "
        f"{'has' if len(names) == 1 else 'have'} shrunk to {left:.1%} of what they were."
    )
    began = int(history.run.parameter_steps[row])
    numbers = {"pull": pull, "left": left, "matrices": float(len(names))}
    limit = f"pull >= {PULLS:g} in half of the steps, and half of the matrices at {SHRUNK:.0%} of their norm or less"
    severity = Severity.ERROR if left < GONE else Severity.WARNING
    if weight_decay <= USUAL:
        severity, text = Severity.NOTE, f"{text} It is of a usual size: the gradient is small."
    sites = tuple(site.index for site in history.run.sites if set(site.parameters) & set(names))
    found_here = Finding("UT409", NAME, severity, sites, shown, text, numbers, limit, began=began)
    found_here = replace(found_here, from_start=began <= history.first_step)
    yield weaker_decay(history.run.header, pull).on(found_here)


def _forgets(history: RunHistory) -> Iterator[Finding]:
    """Report decay that takes so much in every step that nothing learned lasts, where its share can be told."""
    run = history.run
    decay = run.header["decay"]
    plain = run.header.get("optimizer") == "SGD"  # under Adam, decay inside the gradient is divided by its size
    if not (decay.get("decoupled") or plain) or "lr" not in run.parameter_columns or not _matrices(run):
        return
    rates = np.asarray(run.parameter_columns["lr"][:, _matrices(run)], float)
    if np.isfinite(rates).any(1).sum() < FEWEST_ROWS:
        return
    shrinks = float(decay["weight_decay"]) * float(np.nanmedian(rates))
    if shrinks >= FORGETS:
        began = int(history.first_step)
        yield replace(_forgetting(run.header, {"shrinks": shrinks}), began=began, from_start=True)


def _shrinking(history: RunHistory) -> tuple[list[str], float, float, int] | None:
    """Return the names of matrices that decay has shrunk, what is left, how hard it pulls, and since which row."""
    run = history.run
    places = _matrices(run)
    if not {"weight_norm", "grad_norm", "update_norm", "lr"} <= set(run.parameter_columns) or not len(places):
        return None
    weights = np.asarray(run.parameter_columns["weight_norm"][:, places], float)
    pulls = _pulls(run, places)
    known = np.isfinite(weights).all(1) & np.isfinite(pulls).any(1)
    if known.sum() < FEWEST_ROWS:
        return None
    rows = np.flatnonzero(known)
    weights, pulls = weights[rows], pulls[rows]
    last = np.median(weights[-max(len(rows) // 10, 1) :], axis=0)
    left = np.where(weights[0] > 0, last / np.where(weights[0] > 0, weights[0], 1.0), 1.0)
    strong = np.where(np.isnan(pulls), False, pulls >= PULLS)
    overwhelms = np.nan_to_num(np.nanmedian(np.where(np.isnan(pulls), 0.0, pulls), axis=0)) >= OVERWHELMS
    shrunk = (left <= np.where(overwhelms, SHRINKING, SHRUNK)) & (strong.mean(0) >= MOSTLY)
    if shrunk.sum() < MATRICES * len(places):
        return None
    first = int(rows[np.argmax(strong[:, shrunk].mean(1) >= MOSTLY)])
    names = [run.parameters[places[n]] for n in np.flatnonzero(shrunk)]
    return names, float(np.median(left[shrunk])), float(np.nanmedian(pulls[:, shrunk])), first


def _matrices(run: Run) -> list[int]:
    """Return the places of matrices that no normalisation follows: behind one, their size makes no difference."""
    found = []
    for site in run.sites:
        if site.role is not Role.WEIGHT or not site.weight_shape:
            continue
        behind = [run.sites[run.edges[edge].source].role for edge in run.incoming[site.index]]
        if Role.NORM not in behind:
            found += [
                run.parameters.index(name) for name in site.parameters if name in run.parameters and "bias" not in name
            ]
    return sorted(set(found))


def _pulls(run: Run, places: list[int]) -> Numbers:
    """Return decay's pull at each matrix as a multiple of the loss's, [rows, places]; nan without gradient."""
    decay = float(run.header["decay"]["weight_decay"])
    weight, gradient, moved, lr = (
        np.asarray(run.parameter_columns[name][:, places], float)
        for name in ("weight_norm", "grad_norm", "update_norm", "lr")
    )
    pull = decay * weight
    if run.header["decay"].get("decoupled"):
        pull, gradient = lr * pull, np.maximum(moved - lr * pull, 0.0)
    return np.divide(pull, gradient, out=np.full_like(pull, np.nan), where=gradient > 0)
