"""UR3xx, level C: other activations, and activations where there are none."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import pytorch_code
from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import GAINS, put_in_place
from undertow.record import Role
from undertow.remedies.anatomy import NORMS, Anatomy, Part, anatomy, fresh, replace_module
from undertow.remedies.changing import on_model
from undertow.remedies.drawing import activation_of, draw, predicted_by_drawing, variance_lines
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.heads import path_of_head
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import Rewiring, functions_called, rewire, through
from undertow.training import Training

MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "elu": nn.ELU,
}  # fmt: skip


FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu, "leaky_relu": functional.leaky_relu, "gelu": functional.gelu, "silu": functional.silu,
    "tanh": torch.tanh, "elu": functional.elu,
}  # fmt: skip


_PASSING = (*NORMS, nn.Dropout, nn.Flatten, nn.Identity, nn.AvgPool1d, nn.AvgPool2d, nn.Unflatten)


_FUNCTION_LINES = {name: f"torch.{name}(x)" if name in ("relu", "tanh") else f"F.{name}(x)" for name in FUNCTIONS}


SWAPPED = (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid, nn.Tanhshrink, nn.ReLU6)


SWAPPED_NAMES = frozenset({"sigmoid", "tanh", "relu", "hardsigmoid", "hardtanh", "relu_", "sigmoid_", "tanh_", "relu6"})


_ANY_ACTIVATION = SWAPPED_NAMES | {
    "gelu", "silu", "elu", "leaky_relu", "selu", "softplus", "mish", "celu", "hardswish", "softmax", "clamp", "prelu",
    "max_pool1d", "max_pool2d",
}  # fmt: skip


FLAT = frozenset({"softmax", "log_softmax"})
"""Functions that are activations of rows of features, and something else of more axes."""

_FLAT_MODULES = (nn.Softmax, nn.LogSoftmax)
SATURATING = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh"})


@remedy("UR301", "another activation, with the start it needs", "C", ["UT101", "UT201", "UT202", "UT104", "UT301"])
def activation(training: Training, to: str = "relu") -> Training:
    """Put another activation in the place of all hidden ones, and draw weights with the variance that it needs.

    What it changes:
        Activation modules in front of the head; functional calls on the way, too. The output's own activation stays.
    When:
        The activation takes the gradient away: a sigmoid's slope is at most 1/4; units of a ReLU are dead.
    Predicts:
        At least 0.6 decades a layer less are lost than with a sigmoid. Without the new start it fails: PyTorch's own
        start with ReLU loses 0.39 decades a layer.
    References:
        Glorot, Bordes, Bengio 2011; Maas, Hannun, Ng 2013; Hendrycks, Gimpel 2016.
    """
    return on_model(training, _Swap(training, to))


@dataclass(frozen=True)
class _Swap:
    training: Training
    to: str

    def __call__(self, model: nn.Module) -> None:
        seen = anatomy(model, self.training)
        modules, head = _hidden_activations(seen), path_of_head(seen, model, self.training)
        for name in modules:
            replace_module(model, name, MODULES[self.to]())
        names = SWAPPED_NAMES - {self.to, f"{self.to}_"}
        rewiring = Rewiring(names, FUNCTIONS[self.to], head, flat=FLAT)
        if called := functions_called(model, self.training, rewiring):
            rewire(model, rewiring)
        if not modules and not called:
            raise ValueError("the model has no activation in front of its last layer")
        draw(model, GAINS.get(self.to, 2.0))


def _hidden_activations(seen: Anatomy) -> list[str]:
    return [part.name for part in _in_front_of_head(seen) if isinstance(part.module, SWAPPED) or _is_flat(part)]


def _is_flat(part: Part) -> bool:
    """Tell whether a part is a softmax over rows of features, as no attention has it."""
    return isinstance(part.module, _FLAT_MODULES) and part.given is not None and part.given.ndim == 2


def _in_front_of_head(seen: Anatomy) -> Iterator[Part]:
    head = seen.head
    for part in seen.parts:
        if head is not None and part.name == head.name:
            return
        yield part


@activation.proposes
def _proposed_activation(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    now = activation_of(diagnosis)
    if known_facts(diagnosis).get("survey", {}).get("hidden_softmax"):
        yield Proposal({"to": "relu"}, "a softmax between layers lets features compete for a sum of one", 0.8)
        return
    slow = bool(codes & {"UT101", "UT201", "UT104", "UT301", "UT704"}) or unlearned(diagnosis)
    if now in SATURATING and slow:
        taken = f"{now}'s slope takes the gradient away"
        yield Proposal({"to": "relu"}, taken, 0.7, predicted_by_drawing(diagnosis, "relu"))
        if now == "sigmoid":
            steeper = "tanh is four times as steep as the sigmoid at 0"
            yield Proposal({"to": "tanh"}, steeper, 0.6, predicted_by_drawing(diagnosis, "tanh"))
    elif now == "relu" and ("UT202" in codes or unlearned(diagnosis)):
        yield Proposal({"to": "leaky_relu"}, "units are dead: a leaky ReLU passes gradient on at both sides", 0.65)


@activation.written
def _activation_lines(to: str = "relu") -> str:
    return _swap_lines("[]  # names of the activations in front of the last layer", to)


@activation.written_for
def _activation_lines_for(training: Training, to: str = "relu") -> str:
    seen = anatomy(fresh(training), training)
    if modules := _hidden_activations(seen):
        return _swap_lines(str(modules), to)
    place = "# in forward(), wherever an activation is called in front of the last layer:"
    return f"{place} {_FUNCTION_LINES[to]}\n{variance_lines(to)}"


def _swap_lines(names: str, to: str) -> str:
    exchanged = put_in_place(f"nn.{pytorch_code.MODULES[to]}()")
    return "\n".join([f"for name in {names}:", *exchanged, variance_lines(to)])


@remedy("UR310", "an activation behind every hidden layer", "C", ["UT704"])
def activate(training: Training) -> Training:
    """Put a ReLU behind every hidden layer that has no activation, and draw weights with the variance that it needs.

    What it changes:
        Hidden layers that hand what they make straight on to the next layer.
    When:
        Layers follow one another without anything between them: together they are one linear layer.
    Predicts:
        Functions that aren't linear can be learned.
    References:
        Goodfellow, Bengio, Courville 2016, chapter 6 (XOR).
    """
    return on_model(training, _Activate(training))


@dataclass(frozen=True)
class _Activate:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        for name in _bare_layers(model, self.training):
            model.get_submodule(name).register_forward_hook(_relu)
        draw(model, GAINS["relu"])


def _relu(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    del module, given
    return functional.relu(made)


def _bare_layers(model: nn.Module, training: Training) -> list[str]:
    seen = anatomy(model, training)
    if functions_called(model, training, Rewiring(_ANY_ACTIVATION, through, path_of_head(seen, model, training))):
        raise ValueError("the model calls activations already")
    found = []
    for part in seen.hidden:
        behind = next((each for each in seen.after(part) if not isinstance(each.module, _PASSING)), None)
        if behind is not None and behind.is_layer:
            found.append(part.name)
    if not found:
        raise ValueError("every hidden layer has an activation behind it")
    return found


@activate.proposes
def _proposed_activations(diagnosis: Diagnosis) -> Iterator[Proposal]:
    bent = any(site.role in (Role.ACTIVATION, Role.ATTENTION) for site in diagnosis.run.sites)
    if not bent and len(diagnosis.layers) > 1 and not diagnosis.recurrent:
        yield Proposal({}, f"{len(diagnosis.layers)} layers and no activation between them", 0.8)


@activate.written
def _activate_lines() -> str:
    return _relu_loop("[]  # names of the hidden layers")


@activate.written_for
def _activate_lines_for(training: Training) -> str:
    return _relu_loop(str(_bare_layers(fresh(training), training)))


def _relu_loop(names: str) -> str:
    return (
        f"for name in {names}:\n"
        "    model.get_submodule(name).register_forward_hook(lambda layer, given, made: torch.relu(made))\n"
        f"{variance_lines('relu')}"
    )
