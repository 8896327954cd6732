"""Remedies: one code, one function ``Training -> Training``, one docstring each.

They compose, and never touch the user's objects: the control of a trial is the same `Training` with no remedy.
"""

from collections.abc import Iterable
from copy import deepcopy
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar, overload

from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.remedies.registry import KINDS, Kind, Level, Proposal, Remedy, proposals, remedy
from undertow.training import Training

__all__ = ["KINDS", "Kind", "Level", "Proposal", "Remedy", "apply", "prescribe", "remedy"]

M = TypeVar("M", Training, nn.Module)

for _module in iter_modules(__path__):
    if _module.name.startswith("ur"):  # found, not listed: a new remedy is one function in such a file
        import_module(f"{__name__}.{_module.name}")


def prescribe(diagnosis: Diagnosis, levels: str = "ABCD") -> list[Remedy]:
    """Return the remedies for a diagnosis, the most urgent first; those that no finding asks for come last.

    Args:
        diagnosis: of a model, as ``undertow.examine`` makes it, or a report.
        levels: those that may be prescribed: what each changes says `Level.meaning`.

    Example:
        >>> from undertow.record import Run
        >>> prescribe(Diagnosis(Run({"optimizer": "SGD", "lr": 0.1}, ())), levels="A")[0].code
        'UR102'
    """
    diagnosis = getattr(diagnosis, "diagnosis", diagnosis)
    found = {each.key: each for each in proposals(diagnosis) if each.level in levels}
    return sorted(found.values(), key=lambda each: -each.urgency)


@overload
def apply(remedy: Remedy | Iterable[Remedy], to: Training) -> Training: ...
@overload
def apply(remedy: Remedy | Iterable[Remedy], to: nn.Module) -> nn.Module: ...
def apply(remedy: Remedy | Iterable[Remedy], to: Training | nn.Module) -> Training | nn.Module:
    """Apply a remedy, or several in order, to a training or to a copy of a model.

    Args:
        remedy: as `prescribe` returns them.
        to: a `Training`, or a model; a model is copied first, and only remedies of levels B and C change it.

    Raises:
        TypeError: ``to`` is something else.
        ValueError: the remedy doesn't change the model.

    Example:
        >>> import torch
        >>> linear = lambda: nn.Linear(2, 1)
        >>> sgd = lambda model: torch.optim.SGD(model.parameters(), lr=1.0)
        >>> training = Training(linear, [torch.ones(4, 2)], lambda model, x: model(x).square().mean(), sgd)
        >>> better = apply(Remedy("UR101", {"factor": 0.1}), training)
        >>> better.optimizer(better.model()).param_groups[0]["lr"]
        0.1
    """
    remedies = [remedy] if isinstance(remedy, Remedy) else list(remedy)
    if isinstance(to, Training):
        for each in remedies:
            to = each(to)
        return to
    if isinstance(to, nn.Module):
        return _applied(remedies, to)
    raise TypeError(f"apply takes a Training or a model, not a {type(to).__name__}")


def _applied(remedies: list[Remedy], model: nn.Module) -> nn.Module:
    for each in remedies:
        if each.level not in (Level.B, Level.C):
            raise ValueError(f"{each.code} ({each.kind.name}) doesn't change the model: apply it to a Training")
    made = apply(remedies, Training(lambda: deepcopy(model), [], _no_loss, _no_optimizer))
    return made.model()


def _no_loss(*_: object) -> Any:
    raise ValueError("this remedy needs a batch: apply it to a Training")


_no_optimizer = _no_loss
