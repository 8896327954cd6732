"""UR4xx, level D: the units and the shape of targets."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts
from undertow.remedies.misplaced import target_of
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training


@remedy("UR403", "targets in standard units", "D", ["UT706", "UT705", "UT401", "UT405", "UT103"])
def standard_targets(training: Training) -> Training:
    """Let the model learn targets of mean 0 and deviation 1, and put its outputs back into the targets' own units.

    What it changes:
        What the model returns is multiplied by the targets' deviation and their mean added; the loss is divided by
        their variance.
    When:
        Regression targets are far from unit scale: the first loss is thousands, and so are the gradients.
    Predicts:
        The first loss is about 1.
    References:
        LeCun, Bottou, Orr, Müller 1998 (Efficient BackProp), section 4.5.
    """
    shift, scale = _moments(targets_of(training, MEASURED_ON))
    changed = on_model(training, _Rescale(shift, scale))
    return replace(changed, loss=_Divided(training.loss, scale**2))


MEASURED_ON = 32
"""Batches that mean and deviation of targets are taken from."""


def targets_of(training: Training, batches: int, whole: bool = False) -> list[Tensor]:
    """Return the targets of some batches.

    Args:
        training: of its batches.
        batches: how many.
        whole: also those that are whole numbers by their type.

    Raises:
        ValueError: they don't end with numbers.
    """
    found = [target_of(batch) for batch in training.sample(batches)]
    targets = [target for target in found if target is not None and (whole or target.is_floating_point())]
    if not targets:
        raise ValueError("no batch ends with a tensor of numbers that could be targets")
    return targets


def _moments(targets: list[Tensor]) -> tuple[float, float]:
    values = torch.cat([target.detach().double().flatten() for target in targets])
    deviation = float(values.std())
    return float(values.mean()), deviation if deviation > 0 else 1.0


@dataclass(frozen=True)
class _Rescale:
    shift: float
    scale: float

    def __call__(self, model: nn.Module) -> None:
        model.register_forward_hook(self._rescaled)

    def _rescaled(self, module: nn.Module, given: Any, made: Any) -> Any:
        del module, given
        if not isinstance(made, Tensor):
            raise TypeError("the model returns more than one tensor: its outputs can't be rescaled")
        return made * self.scale + self.shift


@dataclass(frozen=True)
class _Divided:
    loss: Any
    by: float

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        loss: Tensor = self.loss(model, batch)
        return loss / self.by


@standard_targets.proposes
def _proposed_targets(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    targets = known_facts(diagnosis).get("targets", {})
    if targets.get("numbers") and targets["deviation"] > 0:
        largest = max(abs(targets["mean"]), targets["deviation"])
        if largest > 5 or targets["deviation"] < 0.05:
            words = f"targets have mean {targets['mean']:.3g} and deviation {targets['deviation']:.3g}"
            yield Proposal({}, words, 0.95)
            return
    if "UT706" in codes:
        yield Proposal({}, "targets or the first loss are out of scale", 0.9)
    elif targets.get("numbers", True) and codes & {"UT705", "UT401", "UT405", "UT103"}:
        yield Proposal({}, "nobody has looked at the targets' scale", 0.4)


@standard_targets.written
def _targets_lines() -> str:
    return "mean, deviation = y_train.mean(), y_train.std()\n" + _TARGETS_HOOK


@standard_targets.written_for
def _targets_lines_for(training: Training) -> str:
    shift, scale = _moments(targets_of(training, MEASURED_ON))
    return f"mean, deviation = {shift:.7g}, {scale:.7g}\n{_TARGETS_HOOK}"


_TARGETS_HOOK = (
    "model.register_forward_hook(lambda model, given, made: made * deviation + mean)\n"
    "# and divide the loss by deviation ** 2"
)


@remedy("UR404", "outputs in the targets' shape", "D", ["UT504"])
def same_shape(training: Training) -> Training:
    """Give the model's output the shape of the target, so that each example meets its own.

    What it changes:
        A last dimension of one is dropped from the output, or added to it.
    When:
        [n, 1] meets [n] and is blown up to [n, n]: every output is compared with every target, and all that can be
        learned is their mean.
    Predicts:
        The loss is a mean over n numbers, not n^2.
    References:
        PyTorch warns: "using a target size that is different to the input size".
    """
    return on_model(training, _Shaped(targets_of(training, 1)[0].ndim))


@dataclass(frozen=True)
class _Shaped:
    dimensions: int

    def __call__(self, model: nn.Module) -> None:
        model.register_forward_hook(self._shaped)

    def _shaped(self, module: nn.Module, given: Any, made: Any) -> Any:
        del module, given
        if isinstance(made, Tensor) and made.ndim == self.dimensions + 1 and made.shape[-1] == 1:
            return made.squeeze(-1)
        if isinstance(made, Tensor) and made.ndim == self.dimensions - 1:
            return made.unsqueeze(-1)
        raise ValueError("the model's output differs from the target by more than a dimension of one")


@same_shape.proposes
def _proposed_shape(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT504" for finding in diagnosis.findings):
        yield Proposal({}, "the output is blown up against the target", 1.0)


@same_shape.written
def _shape_lines() -> str:
    return "model.register_forward_hook(lambda model, given, made: made.squeeze(-1))  # as the target has it"


@same_shape.written_for
def _shape_lines_for(training: Training) -> str:
    changed = "squeeze" if targets_of(training, 1)[0].ndim == 1 else "unsqueeze"
    return f"model.register_forward_hook(lambda model, given, made: made.{changed}(-1))  # as the target has it"
