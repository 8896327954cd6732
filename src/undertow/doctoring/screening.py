"""Looking before training: what a remedy does to a fresh model costs one examination."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.doctoring.trials import Arm
from undertow.examination import examine
from undertow.remedies import apply
from undertow.remedies.anatomy import fresh
from undertow.training import Training, random_numbers_kept

SEED = 0
REPEATS = 2


@dataclass(frozen=True)
class Look:
    """Hold what an examination of a fresh model with an arm's remedies said.

    Attributes:
        diagnosis: of it; None where it can't be examined.
        error: why not; then the arm is not tried.
    """

    diagnosis: Diagnosis | None
    error: str = ""

    @property
    def codes(self) -> frozenset[str]:
        """Codes of what is wrong with it, notes left out."""
        findings = self.diagnosis.findings if self.diagnosis else ()
        return frozenset(finding.code for finding in findings if str(finding.severity) != "note")

    @property
    def decades(self) -> float:
        """By how much the gradient changes from the loss to the front; nan where nobody knows."""
        path = self.diagnosis.gradient_path if self.diagnosis else None
        if path is None or len(path.waypoints) < 2:
            return math.nan
        return float(path.gradient[-1] - path.gradient[0])


def look(training: Training, arm: Arm = (), seed: int = SEED) -> Look:
    """Examine a fresh model with an arm's remedies, on some batches; nothing is trained.

    Example:
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> training = Training(lambda: nn.Linear(4, 2), [torch.ones(8, 4)], lambda model, x: model(x).sum(), make)
        >>> look(training).error, look(training).codes
        ('', frozenset())
    """
    try:
        treated = apply(arm, training)
        with random_numbers_kept():
            torch.manual_seed(seed)
            model = treated.model()
            optimizer = treated.optimizer(model)
            report = examine(model, _Losses(treated, model), optimizer, repeats=REPEATS)
        unreached = _unreached(report.run.header, training, arm)
    except Exception as error:  # a remedy that doesn't fit is no failure of the treatment
        return Look(None, f"{type(error).__name__}: {error}")
    if unreached:
        return Look(None, f"no gradient reaches what the remedy adds ({', '.join(unreached[:3])})")
    return Look(report.diagnosis)


class _Losses:
    """Loss after loss, each of another batch, in the precision of the training."""

    def __init__(self, training: Training, model: nn.Module) -> None:
        self._training, self._model, self._batches = training, model, training.sample(REPEATS)
        self._next = 0

    def __call__(self) -> Any:
        batch = self._batches[self._next % len(self._batches)]
        self._next += 1
        dtype = self._training.autocast
        device = next((p.device.type for p in self._model.parameters()), "cpu")
        with torch.autocast(device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            return self._training.loss(self._model, batch)


def _unreached(header: Mapping[str, Any], training: Training, arm: Arm) -> list[str]:
    """Return what surgery has added in vain: where a hook never fires, say."""
    unreached = header.get("unreached", ())
    if not arm or not unreached:
        return []
    before = {name for name, _ in fresh(training).named_parameters()}
    return [name for name in unreached if name not in before]
