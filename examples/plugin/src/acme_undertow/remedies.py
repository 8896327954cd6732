"""ACME201: Nesterov's momentum."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from undertow import Training
from undertow.diagnosis import Diagnosis
from undertow.remedies import Proposal, remedy


@remedy("ACME201", "Nesterov's momentum", "A", ["UT408"])
def nesterov(training: Training) -> Training:
    """Look ahead by the momentum before the gradient is taken.

    What it changes:
        SGD's momentum, where there is any: ``nesterov=True``.
    When:
        SGD takes steps that are too small, and has momentum.
    Predicts:
        Nothing about the gradient at the start.
    References:
        Sutskever et al. 2013, section 2.
    """
    return replace(training, optimizer=_Nesterov(training.optimizer))


@dataclass(frozen=True)
class _Nesterov:
    """Makes the user's optimizer and changes it; a class and no lambda, so that trials reach other processes."""

    make: Callable[[nn.Module], Optimizer]

    def __call__(self, model: nn.Module) -> Optimizer:
        optimizer = self.make(model)
        for group in optimizer.param_groups:
            if group.get("momentum"):
                group["nesterov"] = True
        return optimizer


@nesterov.proposes
def _proposed(diagnosis: Diagnosis) -> Iterator[Proposal]:
    settings: dict[str, Any] = diagnosis.run.header
    if settings.get("optimizer") == "SGD" and any(found.code == "UT408" for found in diagnosis.findings):
        yield Proposal({}, "SGD's steps are small", 0.2)


@nesterov.written
def _lines() -> str:
    return 'for group in optimizer.param_groups:\n    if group.get("momentum"):\n        group["nesterov"] = True'
