"""UR4xx, level D: losses that are given the right things in the wrong places, or not enough to go on."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.loss_inputs import (
    BINARY,
    DERIVING,
    IGNORED,
    OF_CLASSES,
    SMOOTHED,
    SMOOTHING,
    are_exchanged,
    ignored_class,
)
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import ReplacingLoss
from undertow.training import Training

MUCH, SOME = 0.5, 0.25
"""Smoothing of labels that leaves hardly a difference between them, and such that is more than usual."""

BEFORE_GRAPH = 4
"""Arguments of ``torch.autograd.grad`` in front of the one that says whether to keep a graph."""


@remedy("UR428", "outputs first and targets second", "D", ["UT704", "UT405"])
def in_order(training: Training) -> Training:
    """Give a loss the outputs where it expects them, and the targets behind them.

    What it changes:
        The first two arguments of binary cross entropies, ``cross_entropy`` and ``kl_div`` change places, where the
        first are zeros and ones, or shares, and the second aren't.
    When:
        The two were exchanged, as in other libraries' order: the loss is then linear in the outputs, has no lower
        bound, and examples whose target is zero have no slope of their own.
    Predicts:
        The loss can't fall below 0.
    References:
        PyTorch documentation, BCEWithLogitsLoss and KLDivLoss: "input" comes before "target".
    """
    exchanging: dict[str, Callable[..., Any]] = dict.fromkeys(sorted(BINARY | {"cross_entropy", "kl_div"}), _in_order)
    return ReplacingLoss.around(training, exchanging)


def _in_order(func: Any, *given: Any, **named: Any) -> Any:
    first, second = [*given, *(named[name] for name in ("input", "target") if name in named)][:2]
    if not are_exchanged(func.__name__, [first, second]):
        return func(*given, **named)
    named = {name: value for name, value in named.items() if name not in ("input", "target")}
    return func(second, first, *given[2:], **named)


@in_order.proposes
def _proposed_order(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("exchanged"):
        yield Proposal({}, "the loss is given the targets first, and the outputs in the targets' place", 1.0)


@in_order.written
def _order_lines() -> str:
    return "# in the loss: F.binary_cross_entropy_with_logits(model(x), y), outputs in front of targets"


@remedy("UR429", "labels that aren't smoothed", "D", ["UT704", "UT401"])
def unsmoothed(training: Training) -> Training:
    """Take labels as they are where a loss smooths them.

    What it changes:
        ``label_smoothing`` of ``cross_entropy`` is 0.
    When:
        So much is shared out among all classes that the right one hardly differs from the others: little is left to
        learn.
    Predicts:
        The gradient at the logits is divided by what smoothing left of it.
    References:
        Müller, Kornblith, Hinton 2019 (When does label smoothing help?): a tenth is usual.
    """
    return ReplacingLoss.around(training, {"cross_entropy": _unsmoothed})


def _unsmoothed(func: Any, *given: Any, **named: Any) -> Any:
    named = {name: value for name, value in named.items() if name != SMOOTHING}
    return func(*given[:SMOOTHED], **named)


@unsmoothed.proposes
def _proposed_labels(diagnosis: Diagnosis) -> Iterator[Proposal]:
    smoothing = float(known_facts(diagnosis).get("loss", {}).get("smoothing", 0.0))
    if smoothing >= MUCH or (smoothing >= SOME and unlearned(diagnosis)):
        told = f"{smoothing:.3g} of every label is shared out among all classes"
        yield Proposal({}, told, 0.95 if smoothing >= MUCH else 0.5)


@unsmoothed.written
def _labels_lines() -> str:
    return "# in the loss: leave out label_smoothing, or make it 0.1"


@remedy("UR430", "padding left out of the loss", "D", ["UT704"])
def padding_ignored(training: Training, index: int = 0) -> Training:
    """Let the loss pass over the steps that only fill sequences up.

    What it changes:
        ``ignore_index`` of ``cross_entropy`` and ``nll_loss``, where none is set that there could be.
    When:
        Most steps of a batch are padding: who always says the padding's class is nearly always right, and the loss
        falls far before anything else is learned.
    Predicts:
        The loss is the mean over what there is to say.
    References:
        PyTorch documentation, CrossEntropyLoss: "ignore_index".
    """
    return ReplacingLoss.around(training, dict.fromkeys(sorted(OF_CLASSES), partial(_ignoring, index)))


def _ignoring(index: int, func: Any, *given: Any, **named: Any) -> Any:
    if ignored_class(given, named) >= 0:
        return func(*given, **named)
    if len(given) > IGNORED:
        return func(*given[:IGNORED], index, *given[IGNORED + 1 :], **named)
    return func(*given, **{**named, "ignore_index": index})


@padding_ignored.proposes
def _proposed_padding(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    padding = facts.get("targets", {}).get("padding")
    if padding and not facts.get("loss", {}).get("ignored"):
        told = f"{padding[1]:.0%} of the steps that the loss counts end sequences with the same class, {padding[0]}"
        yield Proposal({"index": padding[0]}, told, 0.8)


@padding_ignored.written
def _padding_lines(index: int = 0) -> str:
    return f"# in the loss: F.cross_entropy(..., ignore_index={index})"


@remedy("UR431", "derivatives that can be differentiated", "D", ["UT109", "UT501", "UT704"])
def differentiable(training: Training) -> Training:
    """Keep the graph of derivatives that a loss takes, so that it can be trained on them.

    What it changes:
        ``torch.autograd.grad`` is called with ``create_graph=True`` while the loss is computed.
    When:
        A loss holds a derivative against something, as the residual of an equation, a force or the penalty of a critic
        does: without the graph it is a number like any other, and nothing is learned of it.
    Predicts:
        The term with the derivative has a gradient.
    References:
        Raissi, Perdikaris, Karniadakis 2019; Gulrajani et al. 2017, section 4; PyTorch documentation,
        torch.autograd.grad.
    """
    return ReplacingLoss.around(training, {DERIVING: _with_graph})


def _with_graph(func: Any, *given: Any, **named: Any) -> Any:
    if func is not torch.autograd.grad:
        return func(*given, **named)
    return func(*given[:BEFORE_GRAPH], **{**named, "create_graph": True})


@differentiable.proposes
def _proposed_graph(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("derived"):
        yield Proposal({}, "the loss takes a derivative, of which no derivative can be taken", 0.9)


@differentiable.written
def _graph_lines() -> str:
    return "# in the loss: torch.autograd.grad(..., create_graph=True)"
