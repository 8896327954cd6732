"""UR1xx, level A: the precision that is computed in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from undertow.diagnosis import Diagnosis
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.survey import NARROW
from undertow.training import Training


@remedy("UR115", "single precision", "A", ["UT404", "UT410", "UT103", "UT702"])
def single_precision(training: Training) -> Training:
    """Compute in float32 what is computed in float16 or bfloat16.

    What it changes:
        ``torch.autocast`` is without effect, parameters and buffers of half precision become float32, and so does what
        the model is called with.
    When:
        Numbers leave float16: above 65,504 they are infinite, under 6e-8 they are 0, and so is Adam's epsilon.
    Predicts:
        Nothing that float32 holds is lost.
    References:
        Micikevicius et al. 2018 (mixed precision training); Kalamkar et al. 2019 (bfloat16).
    """
    changed = on_model(training, _widen)
    return replace(changed, autocast=None, loss_scaling=False, loss=_WideLoss(training.loss))


def _widen(model: nn.Module) -> None:
    for held in (*model.parameters(), *model.buffers()):
        if held.dtype in NARROW:
            held.data = held.data.float()
    model.register_forward_pre_hook(_widened)


def _widened(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    del module
    return tuple(x.float() if isinstance(x, Tensor) and x.dtype in NARROW else x for x in given)


@dataclass(frozen=True)
class _WideLoss:
    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with _Wide():  # type: ignore[no-untyped-call]  # torch's
            made: Tensor = self.loss(model, batch)
            return made


class _Wide(TorchDispatchMode):
    """Casts to half precision, such as autocast makes, go to float32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        keywords = dict(kwargs or {})
        if keywords.get("dtype") in NARROW:
            keywords["dtype"] = torch.float32
        return func(*args, **keywords)


@single_precision.proposes
def _proposed_precision(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if not known_facts(diagnosis).get("survey", {}).get("narrow"):
        return
    codes = {"UT404", "UT410", "UT103", "UT702"} & {finding.code for finding in diagnosis.findings}
    yield Proposal({}, "it is computed in half precision", 0.85 if codes or unlearned(diagnosis) else 0.3)


@single_precision.written
def _precision_lines() -> str:
    return "# without torch.autocast, GradScaler and model.half(); or torch.autocast(..., dtype=torch.bfloat16)"
