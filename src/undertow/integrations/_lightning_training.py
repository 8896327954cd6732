"""`training`: a Lightning module with its data as an `undertow.Training`, so that `undertow.doctor` can treat it."""

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from undertow.integrations._training_parts import Accumulated, MeanLoss, TrainerSchedule, unscheduled
from undertow.training import Batches, Training

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Lightning's names of mixed precisions."""


def training(
    module: "LightningModule | Callable[[], LightningModule]",
    batches: Batches,
    trainer: "Trainer | None" = None,
    *,
    validation: Iterable[Any] | None = None,
    monitor: str | None = None,
    mode: str = "min",
    **changes: Any,
) -> Training:
    """Return how a Lightning module is trained, as data: ``undertow.doctor(training(Net, loader))``.

    Args:
        module: a function or class that makes a fresh module, so that every trial starts with weights of its own. Of a
            module each trial gets a copy, with the weights that it has now.
        batches: one pass over the data, as a DataLoader, or a function that returns one.
        trainer: whose accumulation, clipping by norm, mixed precision and number of steps are taken.
        validation: batches that the model isn't trained with; the score is taken on them.
        monitor: the metric that ``validation_step`` logs and the score is read off, ``"val_acc"``; without it, the loss
            of ``training_step`` on ``validation``.
        mode: "min" or "max", as of Lightning's callbacks.
        changes: of `undertow.Training` that go before what was read here, as ``steps=500``.

    Raises:
        ValueError: the module optimizes by hand, or with another number of optimizers than one.

    Example::

        undertow.doctor(training(Net, loader, trainer, validation=held_out, monitor="val_acc", mode="max"))
    """
    make = _Fresh(module)
    configured = _configured(make())
    accumulated = Accumulated(batches, getattr(trainer, "accumulate_grad_batches", 1))
    alone = accumulated.count == 1
    found = Training(
        model=make,
        batches=batches if alone else accumulated,
        loss=_loss if alone else MeanLoss(_loss),
        optimizer=_optimizer,
        score=None if validation is None else _LightningScore(validation, monitor, mode),
        scheduler=configured.schedule(accumulated.steps),
        **({} if trainer is None else _settings(trainer, accumulated.steps)),
    )
    return replace(found, **changes)


@dataclass(frozen=True)
class _Fresh:
    """Makes modules that no trainer is needed for."""

    module: Any

    def __call__(self) -> Any:
        made = copy.deepcopy(self.module) if isinstance(self.module, nn.Module) else self.module()
        made.log = made.log_dict = _unheard  # there is no trainer to log with
        return made


def _unheard(*_: Any, **__: Any) -> None:
    """Log nothing."""


def _loss(module: nn.Module, batch: Any) -> Tensor:
    return _returned_loss(_stepped(module, "training_step", batch))


def _stepped(module: Any, name: str, batch: Any) -> Any:
    step = getattr(module, name)
    takes = inspect.signature(step).parameters
    return step(batch, 0) if len(takes) > 1 else step(batch)


def _returned_loss(returned: Any) -> Tensor:
    loss = returned.get("loss") if isinstance(returned, Mapping) else returned
    if not isinstance(loss, Tensor):
        raise TypeError(f"training_step returned {type(returned).__name__}: return the loss, or a dict with loss")
    return loss


@dataclass(frozen=True)
class _LightningScore:
    """Takes the mean of a metric over validation batches; larger is better."""

    validation: Iterable[Any]
    monitor: str | None
    mode: str

    def __call__(self, module: Any) -> float:
        if self.monitor is None:
            losses = [float(_loss(module, batch)) for batch in self.validation]
            return -sum(losses) / len(losses)
        heard: dict[str, list[float]] = defaultdict(list)
        module.log = partial(_hear, heard)
        module.log_dict = partial(_hear_all, heard)
        try:
            for batch in self.validation:
                _stepped(module, "validation_step", batch)
        finally:
            module.log = module.log_dict = _unheard
        if not heard[self.monitor]:
            known = ", ".join(name for name in heard if heard[name]) or "nothing"
            raise ValueError(f"validation_step logs no {self.monitor}, but {known}: monitor one of these")
        mean = sum(heard[self.monitor]) / len(heard[self.monitor])
        return mean if self.mode == "max" else -mean


def _hear(heard: dict[str, list[float]], name: str, value: Any, *_: Any, **__: Any) -> None:
    heard[name].append(float(value))


def _hear_all(heard: dict[str, list[float]], values: Mapping[str, Any], *_: Any, **__: Any) -> None:
    for name, value in values.items():
        _hear(heard, name, value)


@dataclass(frozen=True)
class _Configured:
    """Hold what ``configure_optimizers`` returned, in one of its many shapes.

    Attributes:
        optimizer: the only one.
        scheduler: of it, if there is one.
        interval: "epoch" or "step", after which the scheduler is stepped, and every so many of them.
        frequency: see there.
    """

    optimizer: Optimizer
    scheduler: LRScheduler | None
    interval: str
    frequency: int

    def schedule(self, epoch: int | None) -> TrainerSchedule | None:
        """Return the schedule; None without one, or where the trainer's metrics decide."""
        if self.scheduler is None or isinstance(self.scheduler, ReduceLROnPlateau):
            return None
        if self.interval == "step":
            return TrainerSchedule(self.scheduler, self.frequency)
        if epoch is None:
            raise ValueError("the scheduler is stepped once an epoch, and batches don't say how many steps one has")
        return TrainerSchedule(self.scheduler, epoch * self.frequency)


def _configured(module: Any) -> _Configured:
    if not module.automatic_optimization:
        raise ValueError(
            f"{type(module).__name__} optimizes by hand (automatic_optimization = False), and only it knows how: make "
            "an undertow.Training of its model, its loss and one optimizer"
        )
    returned = module.configure_optimizers()
    if isinstance(returned, tuple) and len(returned) == 2 and all(isinstance(each, list) for each in returned):
        optimizers, schedulers = returned
    else:
        optimizers, schedulers = returned if isinstance(returned, list | tuple) else [returned], []
    if len(optimizers) != 1 or optimizers[0] is None:
        raise ValueError(f"configure_optimizers returned {len(optimizers)} optimizers: a Training has one")
    first = optimizers[0] if isinstance(optimizers[0], Mapping) else {"optimizer": optimizers[0]}
    about = schedulers[0] if schedulers else first.get("lr_scheduler")
    about = about if isinstance(about, Mapping) else {"scheduler": about}
    interval, frequency = about.get("interval", "epoch"), about.get("frequency", 1)
    return _Configured(first["optimizer"], about.get("scheduler"), interval, frequency)


def _optimizer(module: nn.Module) -> Optimizer:
    return unscheduled(_configured(module).optimizer)


def _settings(trainer: Any, epoch: int | None) -> dict[str, Any]:
    by_norm = str(trainer.gradient_clip_algorithm or "norm").endswith("norm")
    epochs = trainer.max_epochs or 0
    steps = trainer.max_steps if trainer.max_steps > 0 else epochs * epoch if epoch and epochs > 0 else None
    return {
        "clip_grad_norm": trainer.gradient_clip_val or None if by_norm else None,
        "autocast": DTYPES.get(str(trainer.precision)),
        "loss_scaling": trainer.precision == "16-mixed",
        "steps": steps,
    }
