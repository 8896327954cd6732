"""UR1xx, level A: which examples are in a batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

FEW_AT_LEAST = 0.3
"""Deviation of targets within batches, as a part of that over all, under which batches are sorted."""


POOLED = 256
"""Batches that are mixed with one another."""


@remedy("UR113", "batches in random order", "A", ["UT405", "UT704"])
def shuffled(training: Training) -> Training:
    """Mix the examples of a pass, so that a batch is a sample of all.

    What it changes:
        The order of examples: those of up to 256 batches are dealt out anew, in batches as large as before.
    When:
        Batches hold one class each, or come in the order of a file: each step forgets what the last one learned.
    Predicts:
        The gradient of a batch has the direction of the whole gradient.
    References:
        Bottou 2012 (Stochastic gradient descent tricks), section 4.1; Bengio 2012.
    """
    return replace(training, batches=Shuffled(training.batches))


@dataclass(frozen=True)
class Shuffled:
    """Batches whose examples are dealt out anew; those that aren't tuples of tensors stay as they are."""

    batches: Any

    def __call__(self) -> Iterator[Any]:
        """Yield one pass."""
        made = iter(self.batches() if callable(self.batches) else self.batches)
        while pool := list(islice(made, POOLED)):
            yield from _dealt(pool)


def _dealt(pool: list[Any]) -> Iterator[Any]:
    plain = all(isinstance(b, list | tuple) and all(isinstance(t, Tensor) and t.ndim for t in b) for b in pool)
    if not plain or any(len({len(t) for t in batch}) != 1 for batch in pool):
        yield from (pool[i] for i in torch.randperm(len(pool)).tolist())
        return
    sizes = [len(batch[0]) for batch in pool]
    order = torch.randperm(sum(sizes)).split(sizes)
    whole = [torch.cat(parts) for parts in zip(*pool, strict=True)]
    yield from (tuple(each[places] for each in whole) for places in order)


@shuffled.proposes
def _proposed_order(diagnosis: Diagnosis) -> Iterator[Proposal]:
    within = float(known_facts(diagnosis).get("targets", {}).get("within", 1.0))
    if within < FEW_AT_LEAST:
        yield Proposal({}, f"targets vary {within:.2g} times as much within a batch as over all of them", 0.95)


@shuffled.written
def _shuffled_lines() -> str:
    return "# DataLoader(data, batch_size=..., shuffle=True)"
