"""UR4xx, level D: which of the classes, and how much each counts."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from undertow.diagnosis import Diagnosis
from undertow.operations import SOFTMAXES
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, target_of
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import Replacement, ReplacingLoss
from undertow.remedies.rewiring import rewire
from undertow.remedies.survey import takes_batch
from undertow.training import Training

COUNTED_ON = 64
"""Batches whose targets are counted."""

RARE = 0.2
"""Share of a class, as a part of that of an even split, under which it is rare."""


@remedy("UR413", "softmax over classes", "D", ["UT506", "UT704"])
def over_classes(training: Training) -> Training:
    """Take softmaxes over classes where they are taken over the examples of a batch.

    What it changes:
        ``softmax`` and ``log_softmax`` of a matrix along its first axis go along its last one, in the model and the
        loss.
    When:
        Examples of a batch compete with one another: what the network says of one depends on which others are there.
    Predicts:
        Probabilities of each example add up to one.
    References:
        PyTorch documentation, nn.Softmax: "dim: a dimension along which Softmax will be computed".
    """
    changed = on_model(training, partial(rewire, rewiring=Replacement(_OVER_CLASSES)))
    return ReplacingLoss.around(changed, _OVER_CLASSES)


def _over_classes(func: Any, x: Tensor, dim: int | None = None, *rest: Any, **named: Any) -> Any:
    return func(x, -1 if takes_batch(x, dim) else dim, *rest, **named)


_OVER_CLASSES = dict.fromkeys(sorted(SOFTMAXES), _over_classes)


@over_classes.proposes
def _proposed_axis(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("survey", {}).get("over_batch"):
        yield Proposal({}, "a softmax goes over the examples of a batch", 1.0)


@over_classes.written
def _axis_lines() -> str:
    return "# softmax(dim=-1), log_softmax(dim=-1): over classes, not over the batch"


@remedy("UR414", "a yes or no for a single output", "D", ["UT109", "UT704"])
def yes_or_no(training: Training) -> Training:
    """Take binary cross entropy where cross entropy has a single output to choose among.

    What it changes:
        ``cross_entropy`` of one output becomes ``binary_cross_entropy_with_logits``.
    When:
        The softmax of one number is 1, whatever it is: the loss is 0 from the first step on, and nothing is learned.
    Predicts:
        The first loss is that of an even guess, ln 2.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2.2.
    """
    return ReplacingLoss.around(training, {"cross_entropy": _yes_or_no})


def _yes_or_no(func: Any, x: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
    if x.ndim < 2 or x.shape[1] != 1 or target.numel() != x.numel():
        return func(x, target, *rest, **named)
    return functional.binary_cross_entropy_with_logits(x, target.reshape(x.shape).to(x.dtype))


@yes_or_no.proposes
def _proposed_binary(diagnosis: Diagnosis) -> Iterator[Proposal]:
    survey = known_facts(diagnosis).get("survey", {})
    if survey.get("one_class") and "cross_entropy" in survey.get("calls", ()):
        yield Proposal({}, "cross entropy has a single output to choose among, and is always 0", 1.0)


@yes_or_no.written
def _binary_lines() -> str:
    return "# in the loss: F.binary_cross_entropy_with_logits(model(x)[:, 0], y.float()) in place of F.cross_entropy"


@remedy("UR415", "rare classes that count as much as the others", "D", ["UT704"])
def weighted(training: Training) -> Training:
    """Weigh classes by how rare they are.

    What it changes:
        ``cross_entropy``, ``nll_loss`` and binary cross entropies get weights, in place of those that they have: the
        examples of each class count as much together as those of any other.
    When:
        Nearly all examples are of one class, and the network always says that one; or weights were turned round, so
        that what is rare counts even less.
    Predicts:
        The gradient of rare classes is as large as that of frequent ones.
    References:
        King, Zeng 2001 (Logistic regression in rare events data); Cui et al. 2019.
    """
    shares = _shares(training)
    return ReplacingLoss.around(training, _weighing(1 / (len(shares) * shares)))


def _shares(training: Training) -> Tensor:
    """Return the share of each class.

    Raises:
        ValueError: targets aren't classes.
    """
    targets = [target_of(batch) for batch in training.sample(COUNTED_ON)]
    whole = torch.cat([each.detach().flatten() for each in targets if each is not None] or [torch.empty(0)])
    if not len(whole) or bool((whole != whole.round()).any()) or bool((whole < 0).any()) or whole.max() > COUNTED_ON**2:
        raise ValueError("batches don't end with targets that are classes")
    counts = torch.bincount(whole.long()).float()
    return counts.clamp(min=1.0) / counts.sum()


def _weighing(weights: Tensor) -> dict[str, Callable[..., Any]]:
    def of_classes(func: Any, x: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
        fits = not target.is_floating_point() and x.ndim > 1 and x.shape[1] == len(weights)
        given = {name: value for name, value in named.items() if name != "weight"}
        return func(x, target, weights.to(x), *rest[1:], **given) if fits else func(x, target, *rest, **named)

    def of_two(func: Any, x: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
        if len(weights) != 2:  # yes and no
            return func(x, target, *rest, **named)
        own = rest[0] if rest else named.get("weight")
        each = weights.to(x)[target.round().long().clamp(0, 1)]
        if isinstance(own, Tensor) and own.shape == target.shape:  # which may hide some of them
            each = each * own
        given = {name: value for name, value in named.items() if name not in ("weight", "pos_weight")}
        return func(x, target, each, *rest[1:], **given)

    binary = dict.fromkeys(("binary_cross_entropy", "binary_cross_entropy_with_logits"), of_two)
    return {**dict.fromkeys(("cross_entropy", "nll_loss"), of_classes), **binary}


@weighted.proposes
def _proposed_weights(diagnosis: Diagnosis) -> Iterator[Proposal]:
    shares = known_facts(diagnosis).get("targets", {}).get("classes", [])
    if shares and min(shares) * len(shares) < RARE:
        yield Proposal({}, f"the rarest class has {min(shares):.1%} of the examples", 0.7)
    elif shares and known_facts(diagnosis).get("loss", {}).get("weighed"):
        yield Proposal({}, "the loss has weights of classes; these may not be those that are meant", 0.45)


@weighted.written
def _weights_lines() -> str:
    return (
        "counts = torch.bincount(y_train)\n"
        "weight = counts.sum() / (len(counts) * counts.clamp(min=1))\n"
        "# in the loss: F.cross_entropy(model(x), y, weight=weight)"
    )
