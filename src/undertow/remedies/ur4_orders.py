"""UR4xx, level D: targets of many orders of magnitude."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.operations import DIFFERENCES, REGRESSION_LOSSES
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts
from undertow.remedies.outside import OutsideModel
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.ur4_targets import MEASURED_ON, targets_of
from undertow.training import Training

WIDE, WIDER = 0.3, 0.6
"""Deviations of the targets' decimal logarithms: from the first on errors in logarithms are worth a try, from the
second on a few targets are all that counts."""

LARGEST = 60.0
"""Of what the exponential is given: exp(60) is 1e26, and its square still a number in float32."""


@remedy("UR424", "errors of orders of magnitude", "D", ["UT706", "UT405", "UT401", "UT103"])
def logarithmic(training: Training) -> Training:
    """Let the model learn the logarithms of targets that are all positive and of every size.

    What it changes:
        What the model returns is taken for a logarithm in standard units: its exponential is returned. Differences and
        regression losses of outputs and targets outside of the model are taken of their logarithms.
    When:
        Prices, counts, concentrations, energies: of squared errors the few largest targets make nearly all, and the
        network learns nothing about the rest.
    Predicts:
        Every example counts by how many times its target it is off.
    References:
        Box, Cox 1964 (An analysis of transformations).
    """
    values = torch.cat([target.detach().double().flatten() for target in targets_of(training, MEASURED_ON)])
    if not bool((values > 0).all()):
        raise ValueError("some targets aren't positive: they have no logarithms")
    logs = values.log()
    mean, deviation = float(logs.mean()), max(float(logs.std()), 1e-6) if len(logs) > 1 else 1.0
    changed = on_model(training, _Exponential(mean, deviation))
    return replace(changed, loss=_OfLogarithms(training.loss, deviation**2))


@dataclass(frozen=True)
class _Exponential:
    mean: float
    deviation: float

    def __call__(self, model: nn.Module) -> None:
        model.register_forward_hook(self._made)

    def _made(self, module: nn.Module, given: Any, made: Any) -> Any:
        del module, given
        if not isinstance(made, Tensor):
            raise TypeError("the model returns more than one tensor: nobody knows which is a logarithm")
        return (made * self.deviation + self.mean).clamp(-LARGEST, LARGEST).exp()


@dataclass(frozen=True)
class _OfLogarithms:
    loss: Any
    by: float

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with _Logarithms(model):
            loss: Tensor = self.loss(model, batch)
            return loss / self.by


class _Logarithms(OutsideModel):
    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, what is compared as its logarithms."""
        both = args[:2]
        if name not in DIFFERENCES | REGRESSION_LOSSES or not all(_positive(each) for each in both) or len(both) < 2:
            return args
        return (*(each.log() for each in both), *args[2:])


def _positive(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0 and bool((value > 0).all())


@logarithmic.proposes
def _proposed_logarithms(diagnosis: Diagnosis) -> Iterator[Proposal]:
    targets = known_facts(diagnosis).get("targets", {})
    orders = float(targets.get("orders", 0.0)) if targets.get("numbers") else 0.0
    if orders >= WIDE:
        told = f"targets are positive, and their sizes deviate by {orders:.2g} decades"
        yield Proposal({}, told, 0.95 if orders >= WIDER else 0.5)


@logarithmic.written
def _logarithm_lines() -> str:
    return "mean, deviation = y_train.log().mean(), y_train.log().std()\n" + _LOGARITHMS_HOOK


@logarithmic.written_for
def _logarithm_lines_for(training: Training) -> str:
    logs = torch.cat([target.detach().double().flatten() for target in targets_of(training, MEASURED_ON)]).log()
    return f"mean, deviation = {float(logs.mean()):.7g}, {float(logs.std()):.7g}\n{_LOGARITHMS_HOOK}"


_LOGARITHMS_HOOK = (
    "model.register_forward_hook(lambda model, given, made: (made * deviation + mean).clamp(-60, 60).exp())\n"
    "# and in the loss: F.mse_loss(model(x).log(), y.log()) / deviation ** 2"
)
