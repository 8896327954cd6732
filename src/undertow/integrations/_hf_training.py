"""`training`: how a ``transformers.Trainer`` trains, as an `undertow.Training`, for `undertow.doctor` to treat."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from undertow.integrations._training_parts import Accumulated, TrainerSchedule, unscheduled
from undertow.training import Training
from undertow.watching.unwrapping import innermost

if TYPE_CHECKING:
    from transformers import Trainer


def training(trainer: "Trainer", **changes: Any) -> Training:
    """Return how a Trainer trains, as data: ``undertow.doctor(training(trainer))``.

    Its data, collator, loss (also an overridden ``compute_loss``), optimizer, schedule, accumulation, clipping and
    mixed precision are the trainer's; the score is the loss on ``eval_dataset``, if there is one. Every trial begins
    with ``model_init()``, or with a copy of the model as it is now.

    Args:
        trainer: that was made, and needn't have trained.
        changes: of `undertow.Training` that go before what was read here, as ``steps=500`` or ``score=accuracy``.

    Raises:
        ValueError: the trainer has no data to train with.
    """
    if trainer.train_dataset is None:
        raise ValueError("the trainer has no train_dataset: there is nothing to train with")
    args = trainer.args
    batches = Accumulated(_HfBatches(trainer), args.gradient_accumulation_steps)
    steps = args.max_steps if args.max_steps > 0 else _steps(trainer)
    autocast = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    optimizers = _HfOptimizers(trainer, _given(trainer), steps)
    found = Training(
        model=_HfModel(trainer, None if trainer.model_init is not None else copy.deepcopy(trainer.model)),
        batches=batches,
        loss=_HfLoss(trainer),
        optimizer=optimizers,
        score=_HfScore(trainer) if trainer.eval_dataset is not None else None,
        scheduler=optimizers.schedule(),
        clip_grad_norm=args.max_grad_norm or None,
        autocast=autocast,
        loss_scaling=bool(args.fp16),
        steps=steps,
    )
    return replace(found, **changes)


@dataclass(frozen=True)
class _HfBatches:
    """Yields one pass over the trainer's data."""

    trainer: Any

    def __call__(self) -> Iterator[Any]:
        loader = self.trainer.get_train_dataloader()
        try:
            yield from loader
        finally:
            if hasattr(loader, "end"):  # a loader of Accelerate's that isn't read to its end is taken to be read still
                loader.end()


def _steps(trainer: Any) -> int:
    epoch = math.ceil(len(trainer.get_train_dataloader()) / trainer.args.gradient_accumulation_steps)
    return math.ceil(epoch * trainer.args.num_train_epochs)


@dataclass(frozen=True)
class _HfModel:
    """Makes models: by the trainer's ``model_init``, or copies."""

    trainer: Any
    model: nn.Module | None

    def __call__(self) -> nn.Module:
        made = self.trainer.call_model_init() if self.model is None else copy.deepcopy(self.model)
        return made.to(self.trainer.args.device)


@dataclass(frozen=True)
class _HfLoss:
    """Computes a step's loss from its micro-batches, each divided as the trainer does."""

    trainer: Any

    def __call__(self, model: nn.Module, batch: list[Any]) -> Tensor:
        trainer = self.trainer
        batch, items = trainer.get_batch_samples(iter(batch), len(batch), trainer.args.device)
        losses = [trainer.compute_loss(model, self._inputs(each), num_items_in_batch=items) for each in batch]
        total: Tensor = torch.stack([loss.reshape(()) for loss in losses]).sum()
        return total if self._divided(items) else total / len(losses)

    def _inputs(self, batch: Any) -> Any:
        return self.trainer._prepare_inputs(dict(batch))  # a copy, as some losses take the labels out

    def _divided(self, items: Any) -> bool:
        said = getattr(self.trainer, "loss_is_scaled_for_ga", None)
        if said is not None:
            return bool(said)
        taken = getattr(self.trainer, "model_accepts_loss_kwargs", False)
        return bool(taken and items is not None) or self.trainer.compute_loss_func is not None


@dataclass(frozen=True)
class _HfScore:
    """Takes the loss on the trainer's evaluation data; larger is better."""

    trainer: Any

    def __call__(self, model: nn.Module) -> float:
        loss = _HfLoss(self.trainer)
        losses = [float(loss(model, [batch])) for batch in self.trainer.get_eval_dataloader()]
        return -sum(losses) / len(losses)


def _given(trainer: Any) -> Optimizer | None:
    """Return the optimizer that the user gave the trainer; None where the trainer makes one itself."""
    made = trainer.optimizer is None or trainer.state.global_step > 0
    return None if made else innermost(trainer.optimizer)


@dataclass(frozen=True)
class _HfOptimizers:
    """Makes optimizers as the trainer does, or like the one that it was given."""

    trainer: Any
    given: Optimizer | None
    steps: int

    def __call__(self, model: nn.Module) -> Optimizer:
        if self.given is not None:
            return _alike(self.given, self.trainer.model, model)
        with _lent(self.trainer, model=model, optimizer=None):
            made: Optimizer = self.trainer.create_optimizer()
        return made

    def schedule(self) -> TrainerSchedule | None:
        """Return the trainer's schedule; None where its metrics decide."""
        scheduler = self.trainer.lr_scheduler if self.given is not None else None
        if scheduler is None:
            optimizer = self(self.trainer.model)
            with _lent(self.trainer, lr_scheduler=None, _created_lr_scheduler=False):
                scheduler = self.trainer.create_scheduler(self.steps, optimizer)
        plateau = isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler)
        return None if plateau else TrainerSchedule(scheduler)


def _alike(given: Optimizer, old: nn.Module, new: nn.Module) -> Optimizer:
    """Return an optimizer like one of another model's parameters, of those with the same names."""
    names = {id(p): name for name, p in old.named_parameters()}
    mine = dict(new.named_parameters())
    groups = [
        {**group, "params": [mine[names[id(p)]] for p in group["params"] if id(p) in names]}
        for group in given.param_groups
    ]
    kind: Any = type(given)
    return unscheduled(kind(groups))


@contextmanager
def _lent(trainer: Any, **values: Any) -> Iterator[None]:
    """Set attributes of a trainer for a while."""
    before = {name: getattr(trainer, name, None) for name in values}
    try:
        for name, value in values.items():
            setattr(trainer, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)
