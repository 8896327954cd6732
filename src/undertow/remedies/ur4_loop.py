"""UR4xx: where a gradient is cut, and what a loop forgets."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_optimizer
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss, Rewiring, through
from undertow.remedies.survey import CUTS
from undertow.training import Training

MOST_CUTS = 8
"""Cuts that are tried one by one, at most."""


@remedy("UR405", "a gradient that isn't cut off", "D", ["UT501", "UT109"])
def attached(training: Training, only: int | None = None) -> Training:
    """Let the gradient through where it is cut.

    What it changes:
        While the loss is computed, ``.detach()``, ``.data``, ``.item()`` and ``torch.tensor(...)`` hand tensors on,
        and ``torch.no_grad()`` is without effect; or only one of the cuts is undone, counted from 0 in the order in
        which they come: a loss of two players needs the others. In your code it is one line, which is shown.
    When:
        Parameters are used and get no gradient. ``argmax`` and ``round`` cut it, too: see UR416.
    Predicts:
        They are reached.
    References:
        PyTorch documentation, autograd mechanics; Bengio, Léonard, Courville 2013 (straight-through estimators).
    """
    return replace(training, loss=RewiredLoss(training.loss, Rewiring(CUTS, through, attach=only is None, only=only)))


@attached.proposes
def _proposed_attachment(diagnosis: Diagnosis) -> Iterator[Proposal]:
    unreached = next((f for f in diagnosis.findings if f.code == "UT501" and str(f.severity) != "note"), None)
    none = known_facts(diagnosis).get("reached") == 0
    if unreached is None and not none:
        return
    yield Proposal({}, unreached.message if unreached else "no parameter gets a gradient", 1.0)
    cuts = int(known_facts(diagnosis).get("survey", {}).get("cuts", 0))
    for place in range(cuts if 1 < cuts <= MOST_CUTS else 0):
        yield Proposal({"only": place}, f"the gradient is cut at {cuts} places; this is number {place + 1}", 0.92)


@attached.written
def _attached_lines(only: int | None = None) -> str:
    which = "" if only is None else f", number {only + 1} of those that run,"
    cuts = ".detach(), .data, .item(), torch.tensor(...) or torch.no_grad()"
    return f"# take out the {cuts}{which} between the parameters and the loss"


@remedy("UR406", "gradients zeroed before every backward pass", "A", ["UT701"])
def zero_grad(training: Training) -> Training:
    """Set gradients to None before every backward pass, whatever the optimizer's own ``zero_grad`` does.

    What it changes:
        One line of your loop; or ``zero_grad`` of an optimizer that has its own, which leaves gradients as they are. A
        `Training` calls it before every backward pass.
    When:
        ``.grad`` still holds the last step's: every step goes along the sum of all gradients so far.
    Predicts:
        The gradient's norm no longer grows from step to step.
    References:
        PyTorch documentation, torch.optim.
    """
    return on_optimizer(training, _zeroing)


def _zeroing(optimizer: Optimizer) -> None:
    optimizer.zero_grad = partial(Optimizer.zero_grad, optimizer)  # type: ignore[method-assign]  # torch's own


@zero_grad.proposes
def _proposed_zeroing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("kept_gradients"):
        yield Proposal({}, "zero_grad() leaves gradients as they are: those of past steps add up", 1.0)
    elif any(finding.code == "UT701" for finding in diagnosis.findings):
        yield Proposal({}, "gradients of past steps add up", 0.6)


@zero_grad.written
def _zero_grad_lines() -> str:
    return "optimizer.zero_grad()  # before loss.backward()"


@remedy("UR407", "training mode", "A", ["UT703"])
def train_mode(training: Training) -> Training:
    """Hold every module in training mode while the loss is computed.

    What it changes:
        A module that is called for the loss is in training mode, whoever put it into evaluation mode: the loss itself,
        a ``train`` of the model's own, or a validation that didn't put it back.
    When:
        BatchNorm or Dropout are in evaluation mode while their network trains.
    Predicts:
        BatchNorm takes each batch's own statistics again.
    References:
        PyTorch documentation, Module.train; Ioffe, Szegedy 2015, section 3.1.
    """
    return replace(training, loss=_InTrainingMode(training.loss))


@dataclass(frozen=True)
class _InTrainingMode:
    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with ExitStack() as stack:
            for module in model.modules():
                stack.callback(module.register_forward_pre_hook(_train).remove)
            made: Tensor = self.loss(model, batch)
            return made


def _train(module: nn.Module, given: Any) -> None:
    del given
    module.training = True


@train_mode.proposes
def _proposed_mode(diagnosis: Diagnosis) -> Iterator[Proposal]:
    evaluating = known_facts(diagnosis).get("survey", {}).get("evaluating", ())
    if evaluating or any(f.code == "UT703" and str(f.severity) != "note" for f in diagnosis.findings):
        yield Proposal({}, "modules are in evaluation mode while they are trained", 1.0)


@train_mode.written
def _train_mode_lines() -> str:
    return "model.train()  # after every validation"
