"""UR4xx, level D as a rule: what is learned. The loss, the targets or the output, shown with their evidence."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import Anatomy, Part, anatomy, fresh, replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.facts import BOUNDED, known_facts, target_of
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import RewiredLoss, Rewiring, functions_called, rewire, through
from undertow.training import Training

SQUASHING_NAMES = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid", "sigmoid_"})
BOUNDING = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Softplus, nn.Softmax, nn.LeakyReLU)
TINY, NEARLY = 1e-6, 1e-3
CUTS = frozenset({"detach", "detach_", "data"})
SQUASHING = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid)
BOUNDING_NAMES = frozenset(
    {"relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "relu6", "hardtanh", "softplus", "clamp", "softmax"}
)


@remedy("UR401", "outputs as logits", "C", ["UT503"])
def logits(training: Training) -> Training:
    """Leave the softmax or sigmoid at the model's end to the loss, which has one of its own.

    What it changes:
        While the loss is computed, the first softmax, log-softmax or sigmoid behind the last layer hands on what it is
        given, wherever it stands: a module, a call in ``forward`` or in the loss. A score gets what it got before.
    When:
        Outputs are squashed twice: softmax before cross entropy, sigmoid before BCEWithLogits.
    Predicts:
        The head's gradient is no longer multiplied by the extra slope, 1/4 at most for a sigmoid.
    References:
        PyTorch documentation, CrossEntropyLoss: "the input is expected to contain the unnormalized logits".
    """
    return replace(training, loss=RewiredLoss(training.loss, _first_behind_head(training)))


def _first_behind_head(training: Training) -> Rewiring:
    return Rewiring(SQUASHING_NAMES, through, head_of(training), behind=True, once=True)


def head_of(training: Training) -> str:
    """Return the path of the last layer that a training's model calls.

    Raises:
        ValueError: it calls no linear layer and no convolution.
    """
    head = anatomy(fresh(training), training).head
    if head is None:
        raise ValueError("the model has no linear layer or convolution that could be its head")
    return head.name


@logits.proposes
def _proposed_logits(diagnosis: Diagnosis) -> Iterator[Proposal]:
    end = known_facts(diagnosis).get("end", "")
    if any(finding.code == "UT503" for finding in diagnosis.findings):
        yield Proposal({}, "outputs are squashed twice", 1.0)
    elif end in ("softmax", "sigmoid") and _squashing_loss(diagnosis):
        yield Proposal({}, f"a {end} stands in front of a loss that may have its own", 0.6)


def _squashing_loss(diagnosis: Diagnosis) -> bool:
    """Tell whether the loss has a softmax or a sigmoid of its own."""
    ops = [site.op.lower() for site in diagnosis.run.sites]
    return any("with_logits" in op or "log_softmax" in op or "cross_entropy" in op for op in ops)


@logits.written
def _logits_lines() -> str:
    return "# in forward(): return what the last layer makes, without softmax or sigmoid; the loss has its own"


@logits.written_for
def _logits_lines_for(training: Training) -> str:
    return _identity_lines(training, SQUASHING) or _logits_lines()


def _identity_lines(training: Training, kinds: tuple[type[nn.Module], ...]) -> str:
    """Return the lines that take a module off the end of a model; empty where a function stands there."""
    behind = _behind_head(anatomy(fresh(training), training), kinds)
    if not behind:
        return ""
    parent, _, child = behind[0].name.rpartition(".")
    return (
        f"setattr(model.get_submodule({parent!r}), {child!r}, nn.Identity())  # the {type(behind[0].module).__name__}"
    )


def _behind_head(seen: Anatomy, kinds: tuple[type[nn.Module], ...]) -> list[Part]:
    return [part for part in seen.after(seen.head) if isinstance(part.module, kinds)] if seen.head else []


@remedy("UR402", "an output without bounds", "D", ["UT705", "UT202", "UT201", "UT109"])
def unbounded(training: Training) -> Training:
    """Take the activation off the model's output.

    What it changes:
        The first ReLU, sigmoid, tanh or clamp behind the last layer, module or function, hands on what it is given.
    When:
        Targets lie where the output's activation can't reach: below zero behind a ReLU, beyond one behind a tanh.
    Predicts:
        Outputs can be any number; dead outputs get gradient again.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2 (output units).
    """
    return on_model(training, _Unbounded(training))


@unbounded.proposes
def _proposed_range(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    facts = known_facts(diagnosis)
    end, targets = facts.get("end", ""), facts.get("targets", {})
    low, high = BOUNDED.get(end, (-math.inf, math.inf))
    if "UT705" in codes:
        yield Proposal({}, "the output's activation can't reach the targets", 1.0)
    elif end and targets.get("numbers") and (targets["lowest"] < low or targets["highest"] > high):
        reach = f"{targets['lowest']:.3g} to {targets['highest']:.3g}"
        yield Proposal({}, f"targets reach from {reach}, and the output ends with a {end}", 0.95)
    elif end or codes & {"UT202", "UT109"}:
        yield Proposal({}, f"the output ends with a {end or 'bounding activation'}", 0.45)


@unbounded.written
def _range_lines() -> str:
    return "# in forward(): return what the last layer makes, with no activation behind it: targets can be any number"


@unbounded.written_for
def _range_lines_for(training: Training) -> str:
    return _identity_lines(training, BOUNDING) or _range_lines()


@dataclass(frozen=True)
class _Unbounded:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        seen = anatomy(model, self.training)
        if modules := _behind_head(seen, BOUNDING):
            replace_module(model, modules[0].name, nn.Identity())
            return
        rewiring = Rewiring(BOUNDING_NAMES, through, seen.head.name if seen.head else "", behind=True, once=True)
        if not functions_called(model, self.training, rewiring):
            raise ValueError("the model has no activation behind its last layer")
        rewire(model, rewiring)


@remedy("UR403", "targets in standard units", "D", ["UT706", "UT705", "UT401", "UT405", "UT103"])
def standard_targets(training: Training) -> Training:
    """Let the model learn targets of mean 0 and deviation 1, and put its outputs back into the targets' own units.

    What it changes:
        What the model returns is multiplied by the targets' deviation and their mean added; the loss is divided by
        their variance.
    When:
        Regression targets are far from unit scale: the first loss is thousands, and so are the gradients.
    Predicts:
        The first loss is about 1.
    References:
        LeCun, Bottou, Orr, Müller 1998 (Efficient BackProp), section 4.5.
    """
    shift, scale = _moments(_targets(training, MEASURED_ON))
    changed = on_model(training, _Rescale(shift, scale))
    return replace(changed, loss=_Divided(training.loss, scale**2))


MEASURED_ON = 32
"""Batches that mean and deviation of targets are taken from."""


def _targets(training: Training, batches: int) -> list[Tensor]:
    found = [target_of(batch) for batch in training.sample(batches)]
    targets = [target for target in found if target is not None and target.is_floating_point()]
    if not targets:
        raise ValueError("no batch ends with a tensor of numbers that could be targets")
    return targets


def _moments(targets: list[Tensor]) -> tuple[float, float]:
    values = torch.cat([target.detach().double().flatten() for target in targets])
    deviation = float(values.std())
    return float(values.mean()), deviation if deviation > 0 else 1.0


@dataclass(frozen=True)
class _Rescale:
    shift: float
    scale: float

    def __call__(self, model: nn.Module) -> None:
        model.register_forward_hook(self._rescaled)

    def _rescaled(self, module: nn.Module, given: Any, made: Any) -> Any:
        del module, given
        if not isinstance(made, Tensor):
            raise TypeError("the model returns more than one tensor: its outputs can't be rescaled")
        return made * self.scale + self.shift


@dataclass(frozen=True)
class _Divided:
    loss: Any
    by: float

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        loss: Tensor = self.loss(model, batch)
        return loss / self.by


@standard_targets.proposes
def _proposed_targets(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    targets = known_facts(diagnosis).get("targets", {})
    if targets.get("numbers") and targets["deviation"] > 0:
        largest = max(abs(targets["mean"]), targets["deviation"])
        if largest > 5 or targets["deviation"] < 0.05:
            words = f"targets have mean {targets['mean']:.3g} and deviation {targets['deviation']:.3g}"
            yield Proposal({}, words, 0.95)
            return
    if "UT706" in codes:
        yield Proposal({}, "targets or the first loss are out of scale", 0.9)
    elif targets.get("numbers", True) and codes & {"UT705", "UT401", "UT405", "UT103"}:
        yield Proposal({}, "nobody has looked at the targets' scale", 0.4)


@standard_targets.written
def _targets_lines() -> str:
    return (
        "mean, deviation = y_train.mean(), y_train.std()\n"
        "model.register_forward_hook(lambda model, given, made: made * deviation + mean)\n"
        "# and divide the loss by deviation ** 2"
    )


@remedy("UR404", "outputs in the targets' shape", "D", ["UT504"])
def same_shape(training: Training) -> Training:
    """Give the model's output the shape of the target, so that each example meets its own.

    What it changes:
        A last dimension of one is dropped from the output, or added to it.
    When:
        [n, 1] meets [n] and is blown up to [n, n]: every output is compared with every target, and all that can be
        learned is their mean.
    Predicts:
        The loss is a mean over n numbers, not n^2.
    References:
        PyTorch warns: "using a target size that is different to the input size".
    """
    return on_model(training, _Shaped(_targets(training, 1)[0].ndim))


@dataclass(frozen=True)
class _Shaped:
    dimensions: int

    def __call__(self, model: nn.Module) -> None:
        model.register_forward_hook(self._shaped)

    def _shaped(self, module: nn.Module, given: Any, made: Any) -> Any:
        del module, given
        if isinstance(made, Tensor) and made.ndim == self.dimensions + 1 and made.shape[-1] == 1:
            return made.squeeze(-1)
        if isinstance(made, Tensor) and made.ndim == self.dimensions - 1:
            return made.unsqueeze(-1)
        raise ValueError("the model's output differs from the target by more than a dimension of one")


@same_shape.proposes
def _proposed_shape(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT504" for finding in diagnosis.findings):
        yield Proposal({}, "the output is blown up against the target", 1.0)


@same_shape.written
def _shape_lines() -> str:
    return "model.register_forward_hook(lambda model, given, made: made.squeeze(-1))  # as the target has it"


@same_shape.written_for
def _shape_lines_for(training: Training) -> str:
    changed = "squeeze" if _targets(training, 1)[0].ndim == 1 else "unsqueeze"
    return f"model.register_forward_hook(lambda model, given, made: made.{changed}(-1))  # as the target has it"


@remedy("UR405", "a gradient that isn't cut off", "D", ["UT501", "UT109"])
def attached(training: Training) -> Training:
    """Let the gradient through where it is cut.

    What it changes:
        While the loss is computed, ``.detach()`` and ``.data`` hand on the tensor itself, and ``torch.no_grad()`` is
        without effect. In your code it is one line, which is shown.
    When:
        Parameters are used and get no gradient. ``.item()``, ``argmax`` and ``round`` cut it, too: those can't be
        undone from outside.
    Predicts:
        They are reached.
    References:
        PyTorch documentation, autograd mechanics; Bengio, Léonard, Courville 2013 (straight-through estimators).
    """
    return replace(training, loss=RewiredLoss(training.loss, Rewiring(CUTS, through, attach=True)))


@attached.proposes
def _proposed_attachment(diagnosis: Diagnosis) -> Iterator[Proposal]:
    for finding in diagnosis.findings:
        if finding.code == "UT501" and str(finding.severity) == "error":
            yield Proposal({}, finding.message, 1.0)


@attached.written
def _attached_lines() -> str:
    return "# take out the .detach(), .data or torch.no_grad() between the parameters and the loss"


@remedy("UR406", "gradients zeroed before every backward pass", "A", ["UT701"], by_hand=True)
def zero_grad(training: Training) -> Training:
    """Call ``optimizer.zero_grad()`` before every backward pass; a `Training` always does.

    What it changes:
        One line of your loop.
    When:
        ``.grad`` still holds the last step's: every step goes along the sum of all gradients so far.
    Predicts:
        The gradient's norm no longer grows from step to step.
    References:
        PyTorch documentation, torch.optim.
    """
    return training


@zero_grad.proposes
def _proposed_zeroing(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT701" for finding in diagnosis.findings):
        yield Proposal({}, "gradients of past steps add up", 1.0)


@zero_grad.written
def _zero_grad_lines() -> str:
    return "optimizer.zero_grad()  # before loss.backward()"


@remedy("UR407", "training mode", "A", ["UT703"], by_hand=True)
def train_mode(training: Training) -> Training:
    """Call ``model.train()`` before training goes on; a `Training` always does.

    What it changes:
        One line of your loop.
    When:
        BatchNorm or Dropout stayed in evaluation mode after a validation.
    Predicts:
        BatchNorm takes each batch's own statistics again.
    References:
        PyTorch documentation, Module.train.
    """
    return training


@train_mode.proposes
def _proposed_mode(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT703" for finding in diagnosis.findings):
        yield Proposal({}, "modules are in evaluation mode while they are trained", 1.0)


@train_mode.written
def _train_mode_lines() -> str:
    return "model.train()  # after every validation"


@remedy("UR408", "log-probabilities for the loss that asks for them", "D", ["UT103", "UT704", "UT405"])
def normalised(training: Training) -> Training:
    """Put a log-softmax in front of a loss that takes its input for log-probabilities, and a sigmoid where one is due.

    What it changes:
        While the loss is computed, ``nll_loss`` gets its input through a log-softmax, and ``binary_cross_entropy``
        through a sigmoid if it isn't between 0 and 1; so does ``log`` of what isn't positive.
    When:
        ``nll_loss`` of plain outputs has no lower bound: the loss falls for ever and says nothing.
    Predicts:
        The loss is that of an even guess to begin with, and not negative.
    References:
        PyTorch documentation, NLLLoss: "the input given through a forward call is expected to contain
        log-probabilities of each class".
    """
    return replace(training, loss=NormalisedLoss(training.loss))


@dataclass(frozen=True)
class NormalisedLoss:
    """A loss whose likelihoods are ones."""

    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """Compute it."""
        with Replacing(_LIKELIHOODS):
            made: Tensor = self.loss(model, batch)
            return made


class Replacing(TorchFunctionMode):
    """Calls functions by name through others, which take the function and its arguments."""

    def __init__(self, instead: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__()
        self._instead = instead

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, or the one in its place."""
        del types
        instead = self._instead.get(getattr(func, "__name__", ""))
        return instead(func, *args, **(kwargs or {})) if instead else func(*args, **(kwargs or {}))


def _likely(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x.log_softmax(1 if x.ndim > 1 else 0), *rest, **named)


def _probable(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x if bool(((x >= 0) & (x <= 1)).all()) else x.sigmoid(), *rest, **named)


def _positive(func: Any, x: Tensor, *rest: Any, **named: Any) -> Any:
    return func(x, *rest, **named) if bool((x > 0).all()) or not x.ndim else x.log_softmax(-1)


_LIKELIHOODS = {"nll_loss": _likely, "binary_cross_entropy": _probable, "log": _positive}


@normalised.proposes
def _proposed_likelihood(diagnosis: Diagnosis) -> Iterator[Proposal]:
    likely = [site for site in diagnosis.run.sites if "nll" in site.op.lower()]
    soft = any("softmax" in site.op.lower() for site in diagnosis.run.sites)
    logs = any(site.op.lower().startswith("log") and "softmax" not in site.op.lower() for site in diagnosis.run.sites)
    if likely and not soft and not logs:
        yield Proposal({}, "the loss takes its input for log-probabilities, and no softmax is in front of it", 1.0)
    elif not diagnosis.finite or any(finding.code == "UT103" for finding in diagnosis.findings):
        yield Proposal({}, "the loss is no number: a logarithm may be given what isn't positive", 0.6)


@normalised.written
def _likelihood_lines() -> str:
    return (
        "# in the loss: F.cross_entropy in place of F.nll_loss, F.binary_cross_entropy_with_logits in place of its kin"
    )


@remedy("UR409", "cross entropy in place of squared error", "D", ["UT704", "UT201"])
def likelihood(training: Training) -> Training:
    """Take the likelihood of the classes for a loss where squared differences to zeros and ones were taken.

    What it changes:
        ``mse_loss``, ``l1_loss`` and their kin with targets of zeros and ones become cross entropy: of probabilities if
        the outputs are ones, else of logits.
    When:
        A classifier is trained by squared error: behind a saturated sigmoid or softmax it has no slope where it is most
        wrong.
    Predicts:
        The slope of the output's activation cancels: the gradient at the head is output minus target.
    References:
        Nielsen 2015, chapter 3 (the cross-entropy cost function); Goodfellow, Bengio, Courville 2016, section 6.2.2.
    """
    return replace(training, loss=_AsLikelihood(training.loss))


@dataclass(frozen=True)
class _AsLikelihood:
    loss: Any

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        with Replacing(dict.fromkeys(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"), _as_likelihood)):
            made: Tensor = self.loss(model, batch)
            return made


def _as_likelihood(func: Any, made: Tensor, target: Tensor, *rest: Any, **named: Any) -> Any:
    if made.shape != target.shape or not bool(((target == 0) | (target == 1)).all()):
        return func(made, target, *rest, **named)
    one_of_many = made.ndim > 1 and made.shape[1] > 1 and bool((target.sum(1) == 1).all())
    if bool(((made >= 0) & (made <= 1)).all()):
        sure = made.clamp(TINY, 1 - TINY)
        if one_of_many and bool((made.sum(1) - 1).abs().max() < NEARLY):
            return -(target * sure.log()).sum(1).mean()
        return functional.binary_cross_entropy(sure, target)
    if one_of_many:
        return functional.cross_entropy(made, target)
    return functional.binary_cross_entropy_with_logits(made, target)


@likelihood.proposes
def _proposed_cross_entropy(diagnosis: Diagnosis) -> Iterator[Proposal]:
    squared = any("mse" in site.op.lower() or "l1_loss" in site.op.lower() for site in diagnosis.run.sites)
    if squared and known_facts(diagnosis).get("targets", {}).get("binary"):
        yield Proposal({}, "targets are zeros and ones, and the loss takes them for any numbers", 0.75)


@likelihood.written
def _cross_entropy_lines() -> str:
    return "# in the loss: F.binary_cross_entropy(model(x), y), or F.cross_entropy of logits, in place of F.mse_loss"


@remedy("UR410", "a sigmoid for a single output", "D", ["UT109", "UT704"])
def one_sigmoid(training: Training) -> Training:
    """Take a sigmoid where a softmax has a single output to share one among.

    What it changes:
        The softmax behind a last layer of one output, module or function.
    When:
        A softmax over one number is always 1: nothing can be learned through it.
    Predicts:
        Outputs are no longer all 1.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2.2.
    """
    head = fresh(training).get_submodule(head_of(training))
    if getattr(head, "out_features", getattr(head, "out_channels", 0)) != 1:
        raise ValueError("the last layer has more than one output")
    rewiring = Rewiring(frozenset({"softmax"}), torch.sigmoid, head_of(training), behind=True)
    return on_model(training, partial(_rewired, rewiring=rewiring))


def _rewired(model: nn.Module, rewiring: Rewiring) -> None:
    rewire(model, rewiring)


@one_sigmoid.proposes
def _proposed_sigmoid(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if known_facts(diagnosis).get("end") == "softmax":
        dead = any(finding.code in ("UT109", "UT501", "UT704") for finding in diagnosis.findings)
        yield Proposal({}, "the output ends with a softmax, which needs more than one output", 0.7 if dead else 0.3)


@one_sigmoid.written
def _sigmoid_lines() -> str:
    return "# in forward(): torch.sigmoid(self.head(x)) in place of the softmax over one output"
