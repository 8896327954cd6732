"""Work on a cell of the sweep: build a network from its settings, train it, and say how soon it learned."""

import itertools
import math
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow.studies.severity.config import BUDGET
from undertow.studies.severity.networks import Recipe
from undertow.studies.severity.tasks import LearningTask, task

LEARNED = 0.5
"""A network has learned when the mean of its last losses is under this part of chance's, log(classes)."""

LAST = 10
"""Losses that the mean is taken over."""


def network(task: LearningTask, seed: int, **made_of: Any) -> nn.Module:
    """Build a cell's network from its seed."""
    torch.manual_seed(seed)
    return Recipe(**made_of).build(task.x.shape[-1 if task.x.ndim < 4 else 1], task.classes)


def optimizer_of(name: str, rate: float, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a name."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    return torch.optim.Adam(model.parameters(), lr=rate)


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy of a batch, a scalar."""
    return functional.cross_entropy(model(batch[0]), batch[1])


def trained(
    data: str, optimizer: str, rate: float, seed: int, kind: str, steps: int = 0, **made_of: Any
) -> dict[str, Any]:
    """Train a network until it has learned or its budget is spent.

    Returns:
        ``learned``: whether; ``after``: steps it took (the budget if it didn't learn); ``loss``: the mean of the last
        losses over chance's; ``finite``: whether every loss was.
    """
    chosen = task(data, steps)
    model = network(chosen, seed, kind=kind, steps=steps, **made_of)
    stepper, chance = optimizer_of(optimizer, rate, model), math.log(chosen.classes)
    last: deque[float] = deque(maxlen=LAST)
    done = 0
    for batch in itertools.islice(chosen.batches(seed), BUDGET[kind]):
        stepper.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        stepper.step()
        done += 1
        last.append(loss.item())
        if not math.isfinite(last[-1]) or (done >= LAST and sum(last) / LAST < LEARNED * chance):
            break
    mean = sum(last) / len(last) / chance
    learned = mean < LEARNED
    return {"learned": learned, "after": done if learned else BUDGET[kind], "loss": mean, "finite": math.isfinite(mean)}
