"""UR4xx, level D: targets as the loss takes them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from undertow.diagnosis import Diagnosis
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.loss_inputs import BINARY, IGNORED, OF_CLASSES, ignored_class, several_hold
from undertow.remedies.misplaced import MARGINS, target_of
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.replacing import ReplacingLoss
from undertow.remedies.ur4_targets import targets_of
from undertow.training import Training

COUNTED_ON = 32
NO_CLASS = -100
"""What PyTorch's losses leave out unless told otherwise."""


@remedy("UR419", "targets in the range that the loss is made for", "D", ["UT704", "UT703", "UT405"])
def in_range(training: Training) -> Training:
    """Bring targets of a yes or no into the range that their loss is made for.

    What it changes:
        Binary cross entropies are given targets from 0 to 1, losses of margins from -1 to 1; the lowest and the highest
        target of some batches tell from where.
    When:
        Masks come from files as 0 and 255, labels as 1 and 2 or -1 and 1: the cross entropy has no lower bound then.
        Or a margin is given zeros and ones: there is nothing to learn from a zero.
    Predicts:
        The loss can't fall below 0, and both kinds of example have a slope.
    References:
        PyTorch documentation, BCEWithLogitsLoss: "targets should be numbers between 0 and 1"; SoftMarginLoss:
        "containing 1 or -1".
    """
    values = [(float(target.min()), float(target.max())) for target in targets_of(training, COUNTED_ON, whole=True)]
    low, high = min(each[0] for each in values), max(each[1] for each in values)
    if not low < high:
        raise ValueError("the targets of some batches are all alike")
    return ReplacingLoss.around(training, _into_range(low, high))


def _into_range(low: float, high: float) -> dict[str, Callable[..., Any]]:
    return {
        **{name: partial(_share_of, low, high) for name in sorted(BINARY)},
        **{name: partial(_signed, low, high) for name in sorted(MARGINS)},
    }


def _share_of(low: float, high: float, func: Any, x: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x, ((target - low) / (high - low)).to(x.dtype), *rest, **named)


def _signed(low: float, high: float, func: Any, *given: Any, **named: Any) -> Any:
    places = [place for place, each in enumerate(given) if isinstance(each, Tensor)]
    target = given[places[-1]]
    signed = (2 * (target - low) / (high - low) - 1).to(given[places[0]].dtype)
    return func(*given[: places[-1]], signed, *given[places[-1] + 1 :], **named)


@in_range.proposes
def _proposed_range(diagnosis: Diagnosis) -> Iterator[Proposal]:
    loss = known_facts(diagnosis).get("loss", {})
    if beyond := loss.get("beyond"):
        told = f"{beyond[0]:.3g} to {beyond[1]:.3g}"
        yield Proposal({}, f"a binary cross entropy is given targets from {told}", 1.0)
    elif loss.get("unsigned"):
        yield Proposal({}, "a loss for targets of -1 and 1 is given zeros", 1.0)


@in_range.written
def _range_lines() -> str:
    return "# in the loss: (y - y.min()) / (y.max() - y.min()) for a binary cross entropy, 2 * y - 1 for a margin"


@remedy("UR420", "a yes or no for each of several labels", "D", ["UT704"])
def each_label(training: Training) -> Training:
    """Take binary cross entropy of each label where cross entropy lets labels of which several hold compete.

    What it changes:
        ``cross_entropy`` with targets of zeros and ones, of which not one in a row is a one, becomes
        ``binary_cross_entropy_with_logits``.
    When:
        Labels don't exclude each other. A softmax is blind to what is added to all logits, so that none of them says
        by itself whether its label holds.
    Predicts:
        Each logit has a slope of its own.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2.2; PyTorch documentation, BCEWithLogitsLoss (multi-label).
    """
    return ReplacingLoss.around(training, {"cross_entropy": _each_label})


def _each_label(func: Any, x: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
    if x.shape != target.shape or not target.is_floating_point() or not several_hold(target):
        return func(x, target, *rest, **named)
    return functional.binary_cross_entropy_with_logits(x, target)


@each_label.proposes
def _proposed_labels(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("loss", {}).get("several"):
        yield Proposal({}, "cross entropy is given targets of which several hold, or none", 0.9)


@each_label.written
def _labels_lines() -> str:
    return "# in the loss: F.binary_cross_entropy_with_logits(model(x), y) in place of F.cross_entropy"


@remedy("UR421", "no class passed over", "D", ["UT704"])
def no_class_ignored(training: Training) -> Training:
    """Let the loss count the class that it leaves out.

    What it changes:
        ``ignore_index`` of ``cross_entropy`` and ``nll_loss``, where it is 0 or more.
    When:
        The index that marks padding elsewhere is a class here, the background of a picture say: nothing tells the
        network when it is right to say so.
    Predicts:
        Every example has a gradient.
    References:
        PyTorch documentation, CrossEntropyLoss: "ignore_index".
    """
    return ReplacingLoss.around(training, dict.fromkeys(sorted(OF_CLASSES), _none_ignored))


def _none_ignored(func: Any, *given: Any, **named: Any) -> Any:
    if ignored_class(given, named) >= 0:
        named = {**named, "ignore_index": NO_CLASS} if "ignore_index" in named else named
        given = (*given[:IGNORED], NO_CLASS, *given[IGNORED + 1 :]) if len(given) > IGNORED else given
    return func(*given, **named)


@no_class_ignored.proposes
def _proposed_class(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if ignored := known_facts(diagnosis).get("loss", {}).get("ignored", 0.0):
        urgency = 0.8 if unlearned(diagnosis) else 0.6
        yield Proposal({}, f"the loss passes over a class that {ignored:.0%} of the targets are of", urgency)


@no_class_ignored.written
def _class_lines() -> str:
    return "# in the loss: leave out ignore_index"


@remedy(
    "UR427", "a loss of what the model makes, not of the class that is chosen by it", "D", ["UT501", "UT109", "UT704"]
)
def of_outputs(training: Training) -> Training:
    """Hold a model's outputs against classes by cross entropy, where a loss takes the class that they choose.

    What it changes:
        The loss as it is calls the model; what the model returns, and what a batch ends with, go to ``cross_entropy``,
        or with a single output to a binary cross entropy, in place of what the loss makes of them.
    When:
        ``argmax``, or whether an output is larger than one half, stands between the outputs and the loss: it is a count
        of errors, which has no slope, and no parameter gets a gradient.
    Predicts:
        Parameters are reached.
    References:
        Bishop 2006 (Pattern recognition and machine learning), section 4.3.2; PyTorch documentation, CrossEntropyLoss.
    """
    return replace(training, loss=_OfOutputs(training.loss))


@dataclass(frozen=True)
class _OfOutputs:
    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        made: list[Any] = []
        with model.register_forward_hook(lambda _module, _given, output: made.append(output)):
            self.loss(model, batch)
        target = target_of(batch)
        if target is None or not made or not isinstance(made[-1], Tensor):
            raise ValueError("a batch doesn't end with classes, or the model doesn't return a tensor")
        return _entropy(made[-1], target)


def _entropy(made: Tensor, target: Tensor) -> Tensor:
    if made.numel() == target.numel():
        wanted = target.reshape(made.shape).to(made.dtype)
        shares = bool(((made >= 0) & (made <= 1)).all())
        return (functional.binary_cross_entropy if shares else functional.binary_cross_entropy_with_logits)(
            made, wanted
        )
    classes = target.argmax(1) if target.shape == made.shape else target
    return functional.cross_entropy(made, classes.long())


@of_outputs.proposes
def _proposed_outputs(diagnosis: Diagnosis) -> Iterator[Proposal]:
    facts = known_facts(diagnosis)
    targets = facts.get("targets", {})
    if facts.get("loss", {}).get("chosen") and not facts.get("reached") and targets and not targets.get("numbers"):
        yield Proposal({}, "the loss takes the class that is chosen, which has no slope: no parameter is reached", 1.0)


@of_outputs.written
def _outputs_lines() -> str:
    return "# in the loss: F.cross_entropy(model(x), y), without argmax or a comparison in front of it"
