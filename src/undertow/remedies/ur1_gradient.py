"""UR1xx, level A: what becomes of a gradient before the step."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training


@remedy("UR103", "clip the gradient's norm", "A", ["UT102", "UT405", "UT103", "UT107"])
def clip(training: Training, norm: float = 1.0) -> Training:
    """Cut gradients whose norm is larger than a limit down to it.

    What it changes:
        ``torch.nn.utils.clip_grad_norm_`` between the backward pass and the step.
    When:
        Single steps are thrown far by a large gradient: exploding gradients of moderate size, recurrent networks, a
        deep network in its first steps.
    Predicts:
        No step is longer than the learning rate times the limit.
    References:
        Pascanu, Mikolov, Bengio 2013; Zhang, He, Sra, Jadbabaie 2020.
    """
    return replace(training, clip_grad_norm=norm)


@clip.proposes
def _proposed_norms(diagnosis: Diagnosis) -> Iterator[Proposal]:
    squares = np.square(diagnosis.column("weight_grad_norm"))
    norm = float(np.sqrt(np.nansum(squares)))
    loud = any(finding.code in ("UT102", "UT405", "UT103", "UT107") for finding in diagnosis.findings)
    if loud or (math.isfinite(norm) and norm > 10):
        yield Proposal({"norm": 1.0}, f"the gradient's norm is {norm:.2g}", 0.5 if loud else 0.35)
    elif unlearned(diagnosis):
        yield Proposal({"norm": 1.0}, "the training doesn't learn; single batches may throw it far", 0.25)


@clip.written
def _clip_lines(norm: float = 1.0) -> str:
    return f"torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={norm:g})  # between backward() and step()"


@remedy("UR109", "scale the loss", "A", ["UT404", "UT103"])
def loss_scaling(training: Training) -> Training:
    """Multiply the loss before the backward pass and divide the gradients again before the step.

    What it changes:
        A ``torch.amp.GradScaler`` around loss and optimizer.
    When:
        Gradients are smaller than float16's smallest number.
    Predicts:
        They are 65,536 times as large on their way, and the same at the step.
    References:
        Micikevicius et al. 2018 (mixed precision training), section 3.2.
    """
    return replace(training, loss_scaling=True)


@loss_scaling.proposes
def _proposed_scaling(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT404" for finding in diagnosis.findings):
        yield Proposal({}, "gradients are too small for float16", 0.8)
    elif known_facts(diagnosis).get("half") and unlearned(diagnosis):
        yield Proposal({}, "gradients under 6e-8 are zero in float16", 0.8)


@loss_scaling.written
def _loss_scaling_lines() -> str:
    return (
        "scaler = torch.amp.GradScaler()\n"
        "# in the loop: scaler.scale(loss).backward(), scaler.step(optimizer), scaler.update()"
    )


@remedy("UR112", "gradients that aren't clipped", "A", ["UT403", "UT408"])
def unclipped(training: Training) -> Training:
    """Leave the gradient's norm as it is.

    What it changes:
        ``clip_grad_norm_`` goes.
    When:
        The limit is far under the norm of every gradient, so that all steps have the same, tiny length.
    Predicts:
        Steps are longer by the norm over the limit.
    References:
        Zhang, He, Sra, Jadbabaie 2020.
    """
    return replace(training, clip_grad_norm=None)


@unclipped.proposes
def _proposed_unclipped(diagnosis: Diagnosis) -> Iterator[Proposal]:
    limit = known_facts(diagnosis).get("clip")
    if limit is not None:
        norm = float(np.sqrt(np.nansum(np.square(diagnosis.column("weight_grad_norm")))))
        far = norm > 10 * limit
        yield Proposal({}, f"gradients of norm {norm:.2g} are cut down to {limit:g}", 0.85 if far else 0.3)


@unclipped.written
def _unclipped_lines() -> str:
    return "# leave out clip_grad_norm_, or give it a limit above the usual norm"
