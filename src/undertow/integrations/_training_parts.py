"""Parts for an `undertow.Training` of a trainer's settings: batches of several micro-batches, and its schedule."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

CYCLED = ("momentum", "betas")
"""What some schedulers set besides the learning rate."""


@dataclass(frozen=True)
class Accumulated:
    """Passes over data whose batches are lists of micro-batches: the gradient of a step is that of all of them.

    Attributes:
        batches: what gives micro-batches: a loader, a list, or a function that returns one.
        count: micro-batches of a step; the last step of a pass may have fewer.

    Example:
        >>> list(Accumulated(range(5), 2)())
        [[0, 1], [2, 3], [4]]
    """

    batches: Any
    count: int

    def __call__(self) -> Iterator[list[Any]]:
        """Yield one pass."""
        made = iter(self.batches() if callable(self.batches) else self.batches)
        while step := list(islice(made, self.count)):
            yield step

    @property
    def steps(self) -> int | None:
        """Return the steps of one pass; None where the data doesn't say how long it is."""
        try:
            return math.ceil(len(self.batches) / self.count)
        except TypeError:
            return None


@dataclass(frozen=True)
class MeanLoss:
    """The mean loss of a step's micro-batches.

    Attributes:
        loss: of a model and one micro-batch.
    """

    loss: Callable[[nn.Module, Any], Tensor]

    def __call__(self, model: nn.Module, batch: list[Any]) -> Tensor:
        """Return it with its graph."""
        losses = [self.loss(model, each) for each in batch]
        total = losses[0]
        for each in losses[1:]:
            total = total + each
        return total / len(losses)


@dataclass
class TrainerSchedule:
    """A trainer's schedule for any optimizer: what its own scheduler makes of its own optimizer, as factors.

    A remedy may change the learning rate or put another optimizer in its place; the schedule's shape stays.

    Args:
        scheduler: of the trainer's; a copy of it is stepped, with an optimizer of nothing.
        every: steps of the optimizer between two of the scheduler's, a whole epoch's as a rule.

    Example:
        >>> import torch
        >>> weight = torch.ones(1, requires_grad=True)
        >>> first = torch.optim.lr_scheduler.ExponentialLR(torch.optim.SGD([weight], lr=1.0), 0.5)
        >>> factors = TrainerSchedule(first, every=2).factor
        >>> [factors(step) for step in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    scheduler: LRScheduler
    every: int = 1
    _settings: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        optimizer = self.scheduler.optimizer
        # Every scheduler inside it finds the same stand-in, and no model's weights are kept or sent to processes.
        self.scheduler = copy.deepcopy(self.scheduler, {id(optimizer): _of_nothing(optimizer)})
        self._settings.append(self._now())

    def __call__(self, optimizer: Optimizer) -> LRScheduler:
        """Return a scheduler of this optimizer, to be stepped after each of its steps."""
        return _Following(optimizer, self)

    def factor(self, step: int) -> float:
        """Return what the learning rate is multiplied by at a step, counted from 0."""
        return self.at(step)[0]

    def at(self, step: int) -> tuple[float, dict[str, Any]]:
        """Return the factor, and what else the scheduler sets at a step: some cycle the momentum, too."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no optimizer is stepped
            while len(self._settings) <= step // self.every:
                self.scheduler.step()
                self._settings.append(self._now())
        return self._settings[step // self.every]

    def _now(self) -> tuple[float, dict[str, Any]]:
        group = self.scheduler.optimizer.param_groups[0]
        base = float(self.scheduler.base_lrs[0])
        cycled = {name: group[name] for name in CYCLED if name in group}
        return float(group["lr"]) / base if base else 1.0, cycled


class _Following(LambdaLR):
    """Sets what a schedule says at every step, in all groups of an optimizer."""

    def __init__(self, optimizer: Optimizer, schedule: TrainerSchedule) -> None:
        self._schedule = schedule
        self._cycles = False
        super().__init__(optimizer, schedule.factor)

    def step(self, epoch: int | None = None) -> None:
        """Go on by one step."""
        super().step(epoch)
        before, now = (self._schedule.at(step)[1] for step in (0, self.last_epoch))
        self._cycles |= before != now
        for group in self.optimizer.param_groups if self._cycles else ():
            group |= {name: value for name, value in now.items() if name in group}


def _of_nothing(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer with the same groups and settings that holds no weights."""
    groups = [{**group, "params": [torch.zeros(1)]} for group in optimizer.param_groups]
    return SGD(groups, lr=0.0)


def unscheduled(optimizer: Optimizer) -> Optimizer:
    """Put the learning rates back that a scheduler has changed as it was made; return the optimizer."""
    for group in optimizer.param_groups:
        group["lr"] = group.pop("initial_lr", group["lr"])
    return optimizer
