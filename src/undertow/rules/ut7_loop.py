"""UT701, UT702 and UT703: what a training loop leaves out around the backward pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.advice.loop import in_training_mode, loss_made_finite, order_of_steps, stepped, zeroed
from undertow.rules.registry import RUN, Blocks, rule
from undertow.rules.ut7_few_steps import rarely, taken_back

LEFT_OVER, MOSTLY, FEWEST_SEEN = 0.01, 0.8, 3
IDLE_PASSES, IDLE_TIMES, NEVER_STEPPED = 30, 8, 100
ONE_FOR_TWO = 0.6
ALL_SKIPPED, MANY, HALF = 20, 40, 0.5
OFTEN_EVALUATING, FEWEST_LOOKS = 0.8, 3


@rule(
    "UT701",
    "gradients not zeroed",
    over=RUN,
    once_per_run=True,
    explains=(
        "UT101",
        "UT102",
        "UT103",
        "UT104",
        "UT105",
        "UT108",
        "UT109",
        "UT201",
        "UT202",
        "UT203",
        "UT205",
        "UT401",
        "UT405",
        "UT406",
        "UT704",
    ),
)
def not_zeroed(history: RunHistory) -> Iterator[Finding]:
    """The gradient of the last step is still there when the next backward pass begins.

    What:
        ``.grad`` holds what the last step was taken with when a backward pass after it begins, and that adds to it:
        nobody zeroed it.
    Why it is bad:
        Every step takes the sum of all gradients since the start. That is momentum without friction: the loss swings
        to and fro, wider and wider, or hangs far above where it could be.
    Evidence:
        ``left over``: the norm of the gradients that an optimizer holds, at the first backward pass after its step,
        as a part of their norm when it steps again; the median. ``steps``: how many were looked at.
    Threshold:
        More than a hundredth, in four of five full steps, three or more. Accumulation over several passes is none:
        there is no step between. Gradients that are zeroed before the optimizer steps again, in whatever way and by
        whomever, are none either.
    What to do:
        ``optimizer.zero_grad()`` before ``loss.backward()``, of the optimizer that steps, once a step.
    References:
        PyTorch documentation, autograd: gradients accumulate in leaves; greebear/pytorch-learning, issue 1.
    """
    lost = history.scalar("loss_nonfinite")
    until = lost.steps[lost.values > 0].min(initial=np.inf)  # a part of what is inf says nothing
    looks = history.scalar("left_over")
    steps, part = (each[looks.steps < until][1:] for each in looks)  # nothing is left before the first step
    over = part > LEFT_OVER
    if len(part) < FEWEST_SEEN or over.mean() < MOSTLY:
        return
    soon = int(history.first_step) + 1  # what was left at the first look was left from the second step on
    began = min(soon, int(steps[0])) if over[0] else int(steps[np.argmax(over)])
    share = float(np.median(part[over]))
    text = (
        "Nobody zeroes the gradients, and steps add up: when a backward pass begins, that of the step before is still "
        f"there, {share:.0%} of what the next step takes."
    )
    numbers = {"left over": share, "steps": float(len(part))}
    limit = f"more than {LEFT_OVER:.0%} in {MOSTLY:.0%} of the full steps"
    severity = Severity.WARNING if _learned(history) else Severity.ERROR
    found = Finding("UT701", "gradients not zeroed", severity, (), "the loop", text, numbers, limit, began=began)
    yield zeroed(history.run.header, share).on(replace(found, from_start=began <= history.first_step + 1))


def _learned(history: RunHistory) -> bool:
    return history.loss_summary is not None and history.loss_summary.fell


@rule(
    "UT702",
    "steps not taken",
    over=RUN,
    once_per_run=True,
    blocks_converged=Blocks.EVER,
    explains=("UT101", "UT102", "UT103", "UT108", "UT109", "UT202", "UT401", "UT405", "UT406", "UT408", "UT704"),
)
def not_taken(history: RunHistory) -> Iterator[Finding]:
    """Backward passes are made, and no step follows.

    What:
        Gradients are computed, and the optimizer is never called, or the loss scaler skips each of its steps, or it
        steps where the scaler had just decided that it must not. Or the gradients are cleared before it steps.
    Why it is bad:
        Without a step nothing is learned. A step taken with what the scaler skipped makes the weights nan.
    Evidence:
        ``passes``: backward passes since the last step, and ``usual``, how many there are in a step; ``skipped``: the
        part of the steps that the scaler skipped, or the number of them in a row at the end; ``stepped again``,
        ``stepped scaled`` and ``cleared``: steps looked at in which the optimizer stepped beside the scaler, or without
        gradients.
    Threshold:
        30 passes and eight times as many as usual without a step, or 100 without any. All of the last 20 steps
        skipped, or half of 40 and more. (A scaler skips a few steps when it starts, and one in some thousand later:
        that is its work.) Three steps beside the scaler or without gradients, and half of those looked at. Over a run
        with a scaler, three backward passes for five steps or fewer. Twenty steps and fewer in all, of 50 passes each
        or more, without any effect on the loss; or all weights are to the last digit at each full step what they were
        at the first, though every step moved them, and the loss hasn't fallen.
    What to do:
        Look at the condition that optimizer.step() stands under. If all is skipped, the loss itself is inf or nan:
        see UT103, and compute in float32 or bfloat16 what overflows in float16. Call ``scaler.step(optimizer)`` and
        not ``optimizer.step()`` beside it.
    References:
        Micikevicius et al. 2018 (mixed precision training), section 3.2; PyTorch documentation, torch.amp.GradScaler;
        NVIDIA/apex, issue 318 (the loss scale falls to nothing).
    """
    yield from _idle(history)
    yield from _all_skipped(history)
    yield from _otherwise(history)
    yield from _twice(history)
    yield from rarely(history)
    yield from taken_back(history)


def _idle(history: RunHistory) -> Iterator[Finding]:
    idle: Mapping[str, Any] | None = history.run.header.get("idle passes")
    if idle is None:
        return
    passes, usual, step = float(idle["passes"]), max(float(idle["usual"]), 1.0), int(idle["step"])
    if passes < IDLE_PASSES or passes < (IDLE_TIMES * usual if idle["steps"] else NEVER_STEPPED):
        return
    since = f"since step {step:,}" if idle["steps"] else "from the start"
    text = f"The optimizer has not stepped {since}: nothing is learned from {passes:,.0f} backward passes."
    found = _finding(Severity.ERROR, text, {"passes": passes, "usual": usual}, "30 passes without a step", step)
    yield stepped(passes, usual).on(found)


def _all_skipped(history: RunHistory) -> Iterator[Finding]:
    flags = history.scalar("skipped")
    skipped, noted = np.unique(flags.steps[flags.values > 0]), history.scalar("step").values
    if len(skipped) < ALL_SKIPPED:
        return
    went_on = noted[~np.isin(noted, skipped)]
    last = int((skipped > went_on.max(initial=-1.0)).sum())
    steps = float(noted[-1] - history.first_step + 1) if len(noted) else 0.0
    share = len(skipped) / steps if steps else 0.0
    if last < ALL_SKIPPED and (len(skipped) < MANY or share < HALF):
        return
    scale = history.scalar("scale").values
    fallen = f", and the loss scale has come to {scale[-1]:.2g}" if len(scale) and scale[-1] < scale[0] else ""
    every = (
        "every one of the" if last >= steps - 1 else f"{last:,} in a row at the end of" if last >= ALL_SKIPPED else ""
    )
    text = f"The loss scaler skipped {every or f'{len(skipped):,} of'} {steps:,.0f} steps{fallen}: "
    text += "what isn't finite is the loss or its gradient itself, whatever its scale."
    numbers = {"skipped": share, "in a row": float(last)}
    limit = f"{ALL_SKIPPED} in a row at the end, or half of {MANY} and more"
    began = int(skipped[skipped > went_on.max(initial=-1.0)][0]) if last >= ALL_SKIPPED else int(skipped[0])
    yield loss_made_finite(share).on(_finding(Severity.ERROR, text, numbers, limit, began))


def _otherwise(history: RunHistory) -> Iterator[Finding]:
    for kind, text in _OTHERWISE.items():
        steps, values = history.scalar(kind)
        many = int((values > 0).sum())
        if many >= FEWEST_SEEN and many >= HALF * len(values):
            numbers = {kind.replace("_", " "): float(many), "steps": float(len(values))}
            severity = Severity.WARNING if _learned(history) else Severity.ERROR
            limit = f"{FEWEST_SEEN} steps, and half of those looked at"
            found = _finding(severity, text, numbers, limit, int(steps[np.argmax(values > 0)]))
            yield order_of_steps(kind, float(many)).on(found)


def _twice(history: RunHistory) -> Iterator[Finding]:
    """Tell of steps that are taken twice for a backward pass: by the scaler, and beside it."""
    (steps, passes), scaled = history.scalar("backwards"), len(history.scalar("scale").values)
    if not scaled or len(steps) < 2 or steps[-1] - steps[0] < IDLE_PASSES or not history.one_loss:
        return
    each = float((passes[-1] - passes[0]) / (steps[-1] - steps[0]))
    if 0 < each <= ONE_FOR_TWO:
        severity = Severity.WARNING if _learned(history) else Severity.ERROR
        text = f"There is one backward pass for {1 / each:.2g} steps. {_OTHERWISE['stepped_again']}"
        limit = f"{ONE_FOR_TWO} passes a step"
        found = _finding(severity, text, {"passes a step": each}, limit, int(steps[0]))
        yield order_of_steps("stepped_again", 1 / each).on(found)


_OTHERWISE = {
    "cleared": (
        "The gradients are cleared between the backward pass and the optimizer's step, which then has none to take."
    ),
    "stepped_again": (
        "The optimizer steps again after the scaler's own step, also where the scaler skipped it as the gradient "
        "wasn't finite."
    ),
    "stepped_scaled": (
        "The optimizer takes gradients that are still multiplied by the loss scale: optimizer.step() is called where "
        "scaler.step(optimizer) should be."
    ),
}


def _finding(severity: Severity, text: str, numbers: Mapping[str, float], limit: str, began: int) -> Finding:
    return Finding(
        "UT702", "steps not taken", severity, (), "the loop", text, numbers, limit, began=began, from_start=began == 0
    )


@rule(
    "UT703",
    "evaluation mode",
    header=("evaluation",),
    once_per_run=True,
    explains=(
        "UT101",
        "UT102",
        "UT103",
        "UT104",
        "UT105",
        "UT108",
        "UT109",
        "UT201",
        "UT202",
        "UT205",
        "UT405",
        "UT704",
    ),
)
def evaluating(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Layers are in evaluation mode while their network trains.

    What:
        BatchNorm or Dropout are in evaluation mode, as after ``model.eval()``, and the parameters around them train.
    Why it is bad:
        BatchNorm then normalises by statistics from before, which nobody brings up to date: they are those of another
        network, after a few steps, or of none at all, mean 0 and variance 1, and a deep network loses its signal.
        Dropout drops nothing: what it was meant to prevent, happens.
    Evidence:
        ``normalisations`` and ``dropouts`` in evaluation mode; over a run, the part of the ``steps`` looked at.
    Threshold:
        Any that is in it together with the module that holds it, as ``eval()`` on the whole leaves it, and whose
        parameters (if it has none, those around it) train; over a run, in four of five steps. Without an optimizer
        nobody knows that it is meant to train: a note. Normalisations that are in evaluation mode by themselves were
        put there on purpose as a rule, and are a note; those of a frozen backbone aren't reported.
    What to do:
        ``model.train()`` before the training steps, after every validation.
    References:
        Ioffe, Szegedy 2015, section 3.1; vsepp, issue 4 (a model left in evaluation mode after its first validation).
    """
    evaluation: Mapping[str, Sequence[str]] = diagnosis.run.header["evaluation"]
    optimizer = str(diagnosis.run.header.get("optimizer", "none"))
    severity = Severity.NOTE if optimizer.startswith("none") else Severity.WARNING
    yield from _evaluating(evaluation, severity)


def _evaluating(evaluation: Mapping[str, Sequence[str]], severity: Severity) -> Iterator[Finding]:
    norms, dropouts, alone = (list(evaluation.get(name, ())) for name in ("norms", "dropouts", "norms alone"))
    if norms or dropouts:
        kinds = [f"{len(each)} {kind}{'s' if len(each) > 1 else ''}" for each, kind in
                 ((norms, "BatchNorm layer"), (dropouts, "Dropout layer")) if each]  # fmt: skip
        are = "is" if len(norms) + len(dropouts) == 1 else "are"
        does = ["BatchNorm normalises by old means and variances, which no step brings up to date"] if norms else []
        does += ["Dropout drops nothing"] if dropouts else []
        text = f"{' and '.join(kinds)} {are} in evaluation mode while the network trains: {', and '.join(does)}."
        yield _in_evaluation(severity, norms + dropouts, text, norms, dropouts, alone=False)
    if alone:
        those = "layers are" if len(alone) > 1 else "layer is"
        text = (
            f"{len(alone)} BatchNorm {those} in evaluation mode, in a network that trains. Means and variances stay "
            "what they are there, while scales and shifts learn: that is right where it was done on purpose."
        )
        yield _in_evaluation(Severity.NOTE, alone, text, alone, [], alone=True)


def _in_evaluation(
    severity: Severity, names: Sequence[str], text: str, norms: Sequence[str], dropouts: Sequence[str], alone: bool
) -> Finding:
    where = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    numbers = {"normalisations": float(len(norms)), "dropouts": float(len(dropouts))}
    limit = "none whose parameters train"
    found = Finding("UT703", "evaluation mode", severity, (), where, text, numbers, limit)
    return in_training_mode(names, alone).on(found)


@rule("UT703", "evaluation mode", over=RUN)
def evaluating_over_time(history: RunHistory) -> Iterator[Finding]:
    """Layers were in evaluation mode at most of a run's steps."""
    steps, values = history.scalar("evaluating")
    there = values > 0
    if len(values) < FEWEST_LOOKS or not there.any():
        return
    last = there[-max(len(there) // 2, FEWEST_LOOKS) :]
    if last.mean() < OFTEN_EVALUATING:
        return
    began = int(steps[np.argmax(there)])
    for found in _evaluating(history.run.header["evaluation"], Severity.WARNING):
        numbers = {**found.evidence, "steps": float(there.mean())}
        yield replace(found, evidence=numbers, began=began, from_start=began <= history.first_step)
