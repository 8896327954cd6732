"""UR4xx: where a gradient is cut, and what a loop forgets."""

from collections.abc import Iterator
from dataclasses import replace

from undertow.diagnosis import Diagnosis
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss, Rewiring, through
from undertow.training import Training

CUTS = frozenset({"detach", "detach_", "data"})


@remedy("UR405", "a gradient that isn't cut off", "D", ["UT501", "UT109"])
def attached(training: Training) -> Training:
    """Let the gradient through where it is cut.

    What it changes:
        While the loss is computed, ``.detach()`` and ``.data`` hand on the tensor itself, and ``torch.no_grad()`` is
        without effect. In your code it is one line, which is shown.
    When:
        Parameters are used and get no gradient. ``.item()``, ``argmax`` and ``round`` cut it, too: those can't be
        undone from outside.
    Predicts:
        They are reached.
    References:
        PyTorch documentation, autograd mechanics; Bengio, Léonard, Courville 2013 (straight-through estimators).
    """
    return replace(training, loss=RewiredLoss(training.loss, Rewiring(CUTS, through, attach=True)))


@attached.proposes
def _proposed_attachment(diagnosis: Diagnosis) -> Iterator[Proposal]:
    for finding in diagnosis.findings:
        if finding.code == "UT501" and str(finding.severity) == "error":
            yield Proposal({}, finding.message, 1.0)


@attached.written
def _attached_lines() -> str:
    return "# take out the .detach(), .data or torch.no_grad() between the parameters and the loss"


@remedy("UR406", "gradients zeroed before every backward pass", "A", ["UT701"], by_hand=True)
def zero_grad(training: Training) -> Training:
    """Call ``optimizer.zero_grad()`` before every backward pass; a `Training` always does.

    What it changes:
        One line of your loop.
    When:
        ``.grad`` still holds the last step's: every step goes along the sum of all gradients so far.
    Predicts:
        The gradient's norm no longer grows from step to step.
    References:
        PyTorch documentation, torch.optim.
    """
    return training


@zero_grad.proposes
def _proposed_zeroing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT701" for finding in diagnosis.findings):
        yield Proposal({}, "gradients of past steps add up", 1.0)


@zero_grad.written
def _zero_grad_lines() -> str:
    return "optimizer.zero_grad()  # before loss.backward()"


@remedy("UR407", "training mode", "A", ["UT703"], by_hand=True)
def train_mode(training: Training) -> Training:
    """Call ``model.train()`` before training goes on; a `Training` always does.

    What it changes:
        One line of your loop.
    When:
        BatchNorm or Dropout stayed in evaluation mode after a validation.
    Predicts:
        BatchNorm takes each batch's own statistics again.
    References:
        PyTorch documentation, Module.train.
    """
    return training


@train_mode.proposes
def _proposed_mode(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT703" for finding in diagnosis.findings):
        yield Proposal({}, "modules are in evaluation mode while they are trained", 1.0)


@train_mode.written
def _train_mode_lines() -> str:
    return "model.train()  # after every validation"
