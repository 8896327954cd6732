"""A training that can learn nothing but what targets are like: which of them belongs to which input is mixed up.

Who does no better than such a training has learned nothing from the inputs, however far the loss fell.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from undertow.remedies.anatomy import fresh
from undertow.remedies.facts import target_of
from undertow.tape.tensors import tensors_in
from undertow.training import Training, derived, random_numbers_kept

POOLED = 64
"""Batches whose targets are mixed with one another."""


def blinded(training: Training) -> Training | None:
    """Return a training with its targets mixed up; None where batches don't end with targets that the loss depends on.

    Example:
        >>> from torch import nn
        >>> x = torch.randn(64, 1)
        >>> make = lambda model: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loss = lambda model, batch: (model(batch[0]) - batch[1]).square().mean()
        >>> seeing = Training(lambda: nn.Linear(1, 1), [(x, 2 * x)], loss, make)
        >>> bool(blinded(seeing).run(steps=50).losses[-1] > 10 * seeing.run(steps=50).losses[-1])
        True
    """
    first = training.sample(1)
    if not first or target_of(first[0]) is None or not isinstance(first[0], list | tuple):
        return None
    blind = replace(training, batches=Mixed(training.batches, tuple(_targets(training, first[0]))))
    return blind if _matters(training, first[0]) else None


@dataclass(frozen=True)
class Mixed:
    """Batches whose targets are dealt out at random, each tensor of them by itself.

    Attributes:
        batches: as they are.
        places: of the targets in a batch.
    """

    batches: Any
    places: tuple[int, ...] = (-1,)

    def __call__(self) -> Iterator[Any]:
        """Yield one pass."""
        made = iter(self.batches() if callable(self.batches) else self.batches)
        while pool := list(islice(made, POOLED)):
            yield from _mixed(pool, self.places)


def _mixed(pool: list[Any], places: tuple[int, ...]) -> Iterator[Any]:
    mixed = [list(batch) for batch in pool]
    for place in places:
        targets = [batch[place] for batch in pool]
        sizes = [len(target) for target in targets]
        together = torch.cat(targets)[torch.randperm(sum(sizes))].split(sizes)
        for batch, target in zip(mixed, together, strict=True):
            batch[place] = target
    yield from map(tuple, mixed)


def _targets(training: Training, batch: Any) -> Iterator[int]:
    """Yield the places of tensors, a row an example, that stand behind the first and that no module is given; the last.

    A network with several tasks has several targets: as long as one of them is in its place, it can be learned.
    """
    for place, each in enumerate(batch[1:-1], start=1):
        rows = isinstance(each, Tensor) and each.ndim and len(each) == len(batch[-1])
        if rows and not _given(training, batch, each):
            yield place
    yield -1


def _given(training: Training, batch: Any, tensor: Tensor) -> bool:
    """Tell whether a module of the model is called with a tensor."""
    model = fresh(training)
    found: list[bool] = []

    def look(module: nn.Module, given: Any, named: Any) -> None:
        del module
        found.extend(each.data_ptr() == tensor.data_ptr() for each in tensors_in((*given, *named.values())))

    for module in model.modules():
        module.register_forward_pre_hook(look, with_kwargs=True)
    with random_numbers_kept(), torch.no_grad():
        derived(partial(training.loss, model, batch))
    return any(found)


def _matters(training: Training, batch: Any) -> bool:
    """Tell whether the loss of an untrained model changes with the targets."""
    if not isinstance(batch[-1], Tensor):
        return False
    turned = (*batch[:-1], _another(batch[-1]))
    model = fresh(training)
    losses = []
    for each in (batch, turned):
        with random_numbers_kept(), torch.no_grad():
            torch.manual_seed(0)
            losses.append(float(derived(partial(training.loss, model, each))))
    return losses[0] != losses[1]


def _another(target: Tensor) -> Tensor:
    return target + 1.0 if target.is_floating_point() else target.roll(1, 0) if target.unique().numel() > 1 else target
