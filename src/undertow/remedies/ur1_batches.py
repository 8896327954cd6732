"""UR1xx, level A: which examples are in a batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts, unlearned, unsampled
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


USUAL, SMALL = 32, 8
"""Examples of a batch that is large enough for most, and of one that is so small that its gradient is mostly noise."""


@remedy("UR116", "larger batches", "A", ["UT505", "UT405", "UT704"])
def larger(training: Training, times: int = 8) -> Training:
    """Put several batches together into one.

    What it changes:
        Tensors of that many batches in a row are joined along their first axis; a step costs as many times more.
    When:
        Batches are of a few examples: BatchNorm's means and variances are noise, and so is the gradient.
    Predicts:
        The noise of a gradient falls by the root of the number.
    References:
        McCandlish et al. 2018 (An empirical model of large-batch training); Smith et al. 2018.
    """
    return replace(training, batches=Joined(training.batches, times))


@dataclass(frozen=True)
class Joined:
    """Batches of several put together; what is left over at the end of a pass goes, unless there is nothing else."""

    batches: Any
    times: int

    def __call__(self) -> Iterator[Any]:
        """Yield one pass."""
        made = iter(self.batches() if callable(self.batches) else self.batches)
        whole = False
        while pool := list(islice(made, self.times)):
            if len(pool) == self.times or not whole:
                whole = True
                yield _joined(pool)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts) if first.ndim else torch.stack(parts)
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, list | tuple):
        return type(first)(_joined(list(each)) for each in zip(*parts, strict=True))
    return first


@larger.proposes
def _proposed_larger(diagnosis: Diagnosis) -> Iterator[Proposal]:
    examples = int(known_facts(diagnosis).get("examples", 0))
    noisy = any(finding.code == "UT505" for finding in diagnosis.findings)
    if 0 < examples <= SMALL and (noisy or unlearned(diagnosis)):
        reason = f"a batch has {examples} example{'s' if examples > 1 else ''}"
        yield Proposal({"times": -(-USUAL // examples)}, reason, 0.95 if noisy else 0.5)


@larger.written
def _larger_lines(times: int = 8) -> str:
    return f"# DataLoader(data, batch_size=...): {times} times as many examples as now"


@remedy("UR117", "all examples drawn", "A", ["UT704"])
def all_drawn(training: Training) -> Training:
    """Draw all examples in random order where a sampler's weights leave most of them out.

    What it changes:
        The loader's sampler goes; its data, sizes of batches and the rest stay.
    When:
        ``WeightedRandomSampler`` is given a weight for each class: it takes them for those of the first examples, and
        draws no others.
    Predicts:
        The network sees all of its data.
    References:
        PyTorch documentation, WeightedRandomSampler: "weights: a sequence of weights, not necessary summing up to one",
        one an example.
    """
    if not unsampled(training):
        raise ValueError("no sampler leaves out examples by having fewer weights than there are")
    loader = training.batches
    assert isinstance(loader, DataLoader)  # noqa: S101  # `unsampled` asked
    return replace(training, batches=_without_sampler(loader))


def _without_sampler(loader: DataLoader[Any]) -> DataLoader[Any]:
    return DataLoader(
        loader.dataset, loader.batch_size, shuffle=True, num_workers=loader.num_workers, collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory, drop_last=loader.drop_last, worker_init_fn=loader.worker_init_fn,
    )  # fmt: skip


@all_drawn.proposes
def _proposed_drawing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if left := known_facts(diagnosis).get("unsampled", 0.0):
        yield Proposal({}, f"the sampler has no weights for {left:.0%} of the examples, and never draws them", 1.0)


@all_drawn.written
def _drawing_lines() -> str:
    return "# WeightedRandomSampler(weights[y_train], len(y_train)): a weight for each example, not for each class"
