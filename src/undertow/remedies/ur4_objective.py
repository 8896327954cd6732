"""UR4xx, level D as a rule: what is learned. The loss, the targets or the output, shown with their evidence."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from undertow.diagnosis import Diagnosis
from undertow.remedies.anatomy import Part, anatomy, replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

SQUASHING = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid, nn.Softmax2d)
BOUNDING = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid, nn.Softplus, nn.Softmax, nn.LeakyReLU)
SQUASHING_NAMES = frozenset({"softmax", "log_softmax", "sigmoid", "logsigmoid", "_softmax", "sigmoid_"})
BOUNDING_NAMES = frozenset(
    {"relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "relu6", "hardtanh", "softplus", "clamp", "softmax"}
)


@remedy("UR401", "outputs as logits", "C", ["UT503"])
def logits(training: Training) -> Training:
    """Leave the softmax or sigmoid at the model's end to the loss, which has one of its own.

    What it changes:
        The last softmax, log-softmax or sigmoid, module or function, hands on what it is given. The loss stays.
    When:
        Outputs are squashed twice: softmax before cross entropy, sigmoid before BCEWithLogits.
    Predicts:
        The head's gradient is no longer multiplied by the extra slope, 1/4 at most for a sigmoid.
    References:
        PyTorch documentation, CrossEntropyLoss: "the input is expected to contain the unnormalized logits".
    """
    return on_model(training, _WithoutLast(training, SQUASHING, SQUASHING_NAMES))


@logits.proposes
def _proposed_logits(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT503" for finding in diagnosis.findings):
        yield Proposal({}, "outputs are squashed twice", 1.0)


@logits.written
def _logits_lines() -> str:
    return "return self.head(x)  # no softmax, no sigmoid: cross_entropy and BCEWithLogits have their own"


@remedy("UR402", "an output without bounds", "D", ["UT705", "UT202", "UT201", "UT109"])
def unbounded(training: Training) -> Training:
    """Take the activation off the model's output.

    What it changes:
        The last ReLU, sigmoid, tanh or clamp, module or function, hands on what it is given.
    When:
        Targets lie where the output's activation can't reach: below zero behind a ReLU, beyond one behind a tanh.
    Predicts:
        Outputs can be any number; dead outputs get gradient again.
    References:
        Goodfellow, Bengio, Courville 2016, section 6.2.2 (output units).
    """
    return on_model(training, _WithoutLast(training, BOUNDING, BOUNDING_NAMES))


@unbounded.proposes
def _proposed_range(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    if "UT705" in codes:
        yield Proposal({}, "the output's activation can't reach the targets", 1.0)
    elif codes & {"UT202", "UT109"}:
        yield Proposal({}, "the output's activation may take all gradient away", 0.4)


@unbounded.written
def _range_lines() -> str:
    return "return self.head(x)  # no activation behind it: targets can be any number"


@dataclass(frozen=True)
class _WithoutLast:
    """Makes the last of some activations hand on what it is given, if it stands behind the head."""

    training: Training
    kinds: tuple[type[nn.Module], ...]
    names: frozenset[str]

    def __call__(self, model: nn.Module) -> None:
        seen = anatomy(model, self.training)
        behind: list[Part] = list(seen.after(seen.head)) if seen.head is not None else []
        modules = [part for part in behind if isinstance(part.module, self.kinds)]
        if modules:
            replace_module(model, modules[-1].name, nn.Identity())
            return
        count = _counted(model, self.training, self.names)
        if not count:
            raise ValueError("the model has no such activation behind its last layer")
        model.register_forward_pre_hook(_Open(self.names, count), with_kwargs=True)
        model.register_forward_hook(_close, with_kwargs=True, always_call=True)


class _Passing(TorchFunctionMode):
    """Counts calls of some functions, and lets the last one hand on its input."""

    def __init__(self, names: frozenset[str], last: int) -> None:
        super().__init__()
        self.names, self.last, self.count = names, last, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, unless it is the last one."""
        del types
        if getattr(func, "__name__", "") in self.names:
            self.count += 1
            if self.count == self.last:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


def _counted(model: nn.Module, training: Training, names: frozenset[str]) -> int:
    """Return how many such functions the model's forward pass calls; 0 if the model itself isn't called."""
    opening = model.register_forward_pre_hook(_Open(names, -1), with_kwargs=True)
    counts: list[int] = []

    def close(module: nn.Module, given: Any, keywords: Any, made: Any) -> None:
        del given, keywords, made
        mode = module.__dict__["_undertow_passing"].pop()
        mode.__exit__(None, None, None)
        counts.append(mode.count)

    closing = model.register_forward_hook(close, with_kwargs=True, always_call=True)
    try:
        with torch.no_grad():
            training.loss(model, training.sample(1)[0])
    finally:
        opening.remove()
        closing.remove()
    return counts[0] if counts else 0


class _Open:
    def __init__(self, names: frozenset[str], last: int) -> None:
        self.names, self.last = names, last

    def __call__(self, module: nn.Module, given: Any, keywords: Any) -> None:
        del given, keywords
        mode = _Passing(self.names, self.last)
        module.__dict__.setdefault("_undertow_passing", []).append(mode)
        mode.__enter__()  # type: ignore[no-untyped-call]  # torch's


def _close(module: nn.Module, given: Any, keywords: Any, made: Any) -> None:
    del given, keywords, made
    module.__dict__["_undertow_passing"].pop().__exit__(None, None, None)


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
    targets = [target for batch in training.sample() if (target := _target(batch)) is not None]
    if not targets:
        raise ValueError("no batch ends with a tensor of numbers that could be targets")
    shift, scale = _moments(targets)
    changed = on_model(training, _Rescale(shift, scale))
    return replace(changed, loss=_Divided(training.loss, scale**2))


def _target(batch: Any) -> Tensor | None:
    last = batch[-1] if isinstance(batch, list | tuple) and len(batch) > 1 else None
    return last if isinstance(last, Tensor) and last.is_floating_point() else None


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
    if "UT706" in codes:
        yield Proposal({}, "targets or the first loss are out of scale", 0.9)
    elif codes & {"UT705", "UT401", "UT405", "UT103"}:
        yield Proposal({}, "nobody has looked at the targets' scale", 0.4)


@standard_targets.written
def _targets_lines() -> str:
    return (
        "mean, deviation = y_train.mean(), y_train.std()\n"
        "loss = mse_loss(model(x), (y - mean) / deviation)\n"
        "prediction = model(x) * deviation + mean"
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
    targets = [target for batch in training.sample(1) if (target := _target(batch)) is not None]
    if not targets:
        raise ValueError("no batch ends with a tensor of numbers that could be targets")
    return on_model(training, _Shaped(targets[0].ndim))


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
    return "loss = mse_loss(model(x).squeeze(-1), y)"


@remedy("UR405", "a gradient that isn't cut off", "D", ["UT501", "UT109"], by_hand=True)
def attached(training: Training) -> Training:
    """Let the gradient through where it is cut: the line is shown, and you change it.

    What it changes:
        Nothing by itself: ``.detach()``, ``.item()``, ``.data``, ``torch.no_grad()``, ``argmax`` or ``round`` in your
        code between the parameters and the loss.
    When:
        Parameters are used and get no gradient.
    Predicts:
        They are reached.
    References:
        PyTorch documentation, autograd mechanics; Bengio, Léonard, Courville 2013 (straight-through estimators).
    """
    return training


@attached.proposes
def _proposed_attachment(diagnosis: Diagnosis) -> Iterator[Proposal]:
    for finding in diagnosis.findings:
        if finding.code == "UT501" and str(finding.severity) == "error":
            yield Proposal({"where": finding.source or finding.where}, finding.message, 1.0)


@attached.written
def _attached_lines(where: str = "") -> str:
    start = where or "the parameters"
    return f"# look for .detach(), .item(), .data, no_grad, argmax or round between {start} and the loss"


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
