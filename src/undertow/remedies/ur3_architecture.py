"""UR3xx, level C: another architecture. What is added is put beside the modules there are, whose names stay."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from undertow import pytorch_code
from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import GAINS, put_in_place
from undertow.record import Role
from undertow.remedies.anatomy import LAYERS, NORMS, Anatomy, Part, anatomy, fresh, replace_module, run_loss, weight_of
from undertow.remedies.changing import on_model
from undertow.remedies.facts import known_facts, unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.rewiring import Rewiring, functions_called, rewire, through
from undertow.remedies.ur2_start import FORGET, activation_of, draw, remember, variance_lines
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
ACTIVATIONS = (*SWAPPED, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.SELU, nn.Softplus, nn.PReLU, nn.Mish)
SATURATING = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh"})
DEEP = 8
_TRANSFORMER_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
UNEQUAL = 30.0
"""Ratio of large to small scales of features above which they count as unequal."""

STANDARDISED_ON = 32
"""Batches that means and deviations of inputs are taken from."""


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
        modules, head = _hidden_activations(seen), seen.head.name if seen.head else ""
        for name in modules:
            replace_module(model, name, MODULES[self.to]())
        rewiring = Rewiring(SWAPPED_NAMES - {self.to, f"{self.to}_"}, FUNCTIONS[self.to], head)
        if called := functions_called(model, self.training, rewiring):
            rewire(model, rewiring)
        if not modules and not called:
            raise ValueError("the model has no activation in front of its last layer")
        draw(model, GAINS.get(self.to, 2.0))


def _hidden_activations(seen: Anatomy) -> list[str]:
    return [part.name for part in _in_front_of_head(seen) if isinstance(part.module, SWAPPED)]


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
    slow = bool(codes & {"UT101", "UT201", "UT104", "UT301", "UT704"}) or unlearned(diagnosis)
    if now in SATURATING and slow:
        yield Proposal({"to": "relu"}, f"{now}'s slope takes the gradient away", 0.7)
        if now == "sigmoid":
            yield Proposal({"to": "tanh"}, "tanh is four times as steep as the sigmoid at 0", 0.6)
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


@remedy("UR302", "normalisation behind every hidden layer", "C", ["UT101", "UT102", "UT301", "UT201", "UT108", "UT205"])
def normalise(training: Training, kind: str = "batch") -> Training:
    """Normalise what every hidden layer makes, before its activation.

    What it changes:
        A BatchNorm (or LayerNorm, where rows are positions of a sequence) as a submodule of each hidden layer.
    When:
        A start alone doesn't hold through training, or examples have become alike: LayerNorm doesn't part them again,
        BatchNorm does.
    Predicts:
        Activations of unit scale; the gradient is divided by what the layer's output was.
    References:
        Ioffe, Szegedy 2015; Ba, Kiros, Hinton 2016; Yang et al. 2019 (mean field of BatchNorm).
    """
    return on_model(training, _Normalise(training, kind))


@dataclass(frozen=True)
class _Normalise:
    training: Training
    kind: str

    def __call__(self, model: nn.Module) -> None:
        for part, norm in _norms(anatomy(model, self.training), self.kind):
            part.module.add_module("norm", norm)
            part.module.register_forward_hook(_call_norm)


def _norms(seen: Anatomy, kind: str) -> list[tuple[Part, nn.Module]]:
    if any(isinstance(part.module, NORMS) for part in seen.parts):
        raise ValueError("the model has normalisations already")
    placed = [part for part in seen.hidden if part.calls == 1 and part.made is not None]
    if not placed:
        raise ValueError("the model has no hidden layer that is called once")
    return [(part, _norm(part.made, weight_of(part.module), kind)) for part in placed]


def _norm(made: Tensor | None, weight: Tensor, kind: str) -> nn.Module:
    assert made is not None  # noqa: S101  # the caller looked
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if kind == "layer" or made.ndim == 1 or (made.ndim == 3 and weight.ndim == 2):
        return nn.LayerNorm(made.shape[-1], **place)
    by_dimension = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    return by_dimension[made.ndim](made.shape[1], **place)


def _call_norm(module: nn.Module, given: Any, made: Tensor) -> Tensor:
    del given
    norm: nn.Module = module.norm  # type: ignore[assignment]  # put there together with this hook
    return norm(made)


@normalise.proposes
def _proposed_norm(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    has = any(site.role is Role.NORM for site in diagnosis.run.sites)
    if not has and codes & {"UT101", "UT102", "UT301", "UT201", "UT108", "UT205", "UT104", "UT706"}:
        yield Proposal({"kind": "batch"}, "the scale of what goes through it is lost", 0.6)
    elif not has and unlearned(diagnosis) and len(diagnosis.layers) > 1:
        yield Proposal({"kind": "batch"}, "the training doesn't learn, and nothing holds its scale", 0.4)


@normalise.written
def _norm_lines(kind: str = "batch") -> str:
    norm = "nn.LayerNorm(width)" if kind == "layer" else "nn.BatchNorm1d(width)"
    return _norm_loop("{}", norm, "  # names of the hidden layers, and what they make")


@normalise.written_for
def _norm_lines_for(training: Training, kind: str = "batch") -> str:
    made = _norms(anatomy(fresh(training), training), kind)
    kinds = {type(norm).__name__: {} for _, norm in made}  # type: dict[str, dict[str, int]]
    for part, norm in made:
        kinds[type(norm).__name__][part.name] = int(_width(norm))
    return "\n".join(_norm_loop(str(places), f"nn.{name}(width)") for name, places in kinds.items())


def _width(norm: nn.Module) -> int:
    return norm.normalized_shape[0] if isinstance(norm, nn.LayerNorm) else norm.num_features  # type: ignore[return-value]


def _norm_loop(places: str, norm: str, remark: str = "") -> str:
    return (
        f"for name, width in {places}.items():{remark}\n"
        "    layer = model.get_submodule(name)\n"
        f"    layer.norm = {norm}\n"
        "    layer.register_forward_hook(lambda layer, given, made: layer.norm(made))"
    )


@remedy("UR303", "residual connections, closed to begin with", "C", ["UT101", "UT102", "UT106", "UT205", "UT301"])
def rezero(training: Training) -> Training:
    """Add what goes into a layer to what its activation makes, times a gate that starts at zero.

    What it changes:
        Layers that make as many features as they take: x + gate f(x), the activation behind them included where it is a
        module.
    When:
        A plain stack is too deep for any start: from about 15 layers on.
    Predicts:
        Every such block passes the whole gradient on: 0 decades.
    References:
        Bachlechner et al. 2021 (ReZero); He et al. 2016; De, Smith 2020 (SkipInit).
    """
    return on_model(training, _ReZero(training))


class Gate(nn.Module):
    """x + gate f(x): the gate is a parameter that starts at zero."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros((), device=weight.device, dtype=weight.dtype))
        self.kept: list[Tensor] = []

    def keep(self, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Keep what goes into the layer."""
        del module
        self.kept[:] = [given[0]]  # never more than one, also where a forward pass broke off

    def add(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        """Add it to what the activation makes."""
        del module, given
        return self.kept.pop() + self.gate * made


@dataclass(frozen=True)
class _ReZero:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        for layer, end in _blocks(anatomy(model, self.training)):
            gate = Gate(weight_of(layer.module))
            layer.module.add_module("residual", gate)
            layer.module.register_forward_pre_hook(gate.keep)
            end.module.register_forward_hook(gate.add)


def _blocks(seen: Anatomy) -> list[tuple[Part, Part]]:
    """Return layers that keep their shape, each with what ends its block: the activation behind it, or itself."""
    blocks = [(part, end) for part in seen.hidden if (end := _end_of_block(seen, part)) is not None]
    if not blocks:
        raise ValueError("no hidden layer makes as many features as it takes")
    return blocks


def _end_of_block(seen: Anatomy, part: Part) -> Part | None:
    if part.calls != 1 or part.given is None or part.made is None or part.given.shape != part.made.shape:
        return None
    behind = next((each for each in seen.after(part) if not isinstance(each.module, (*NORMS, nn.Dropout))), None)
    if behind is not None and isinstance(behind.module, ACTIVATIONS):
        return behind if behind.calls == 1 else None
    return part  # its activation is a function that nothing can be hung on


@rezero.proposes
def _proposed_rezero(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    joined = any(site.role is Role.JOIN for site in diagnosis.run.sites)
    named = bool(codes & {"UT101", "UT102", "UT301", "UT205", "UT104"}) or unlearned(diagnosis)
    if not joined and len(diagnosis.layers) >= DEEP and named:
        yield Proposal({}, f"{len(diagnosis.layers)} layers in a row without a way around them", 0.7)


@rezero.written
def _rezero_lines() -> str:
    return _gate_lines("[]  # layers that keep their shape, each with the activation behind it")


@rezero.written_for
def _rezero_lines_for(training: Training) -> str:
    return _gate_lines(str([(layer.name, end.name) for layer, end in _blocks(anatomy(fresh(training), training))]))


def _gate_lines(places: str) -> str:
    return (
        "class Gate(nn.Module):  # x + gate f(x), closed to begin with\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.gate, self.kept = nn.Parameter(torch.zeros(())), []\n"
        "    def keep(self, layer, given):\n"
        "        self.kept[:] = [given[0]]\n"
        "    def add(self, activation, given, made):\n"
        "        return self.kept.pop() + self.gate * made\n"
        f"for layer, end in {places}:\n"
        "    layer = model.get_submodule(layer)\n"
        "    layer.residual = Gate()\n"
        "    layer.register_forward_pre_hook(layer.residual.keep)\n"
        "    model.get_submodule(end).register_forward_hook(layer.residual.add)"
    )


@remedy("UR304", "inputs standardised", "C", ["UT706", "UT201", "UT102", "UT401", "UT202", "UT405"])
def standardise(training: Training) -> Training:
    """Subtract each feature's mean from the inputs and divide by its standard deviation.

    What it changes:
        The model keeps means and deviations as buffers, and standardises what it is called with.
    When:
        Inputs are far from unit scale, or their features are of very different scales.
    Predicts:
        The first layer's pre-activations and the gradient of its weights are divided by the inputs' scale.
    References:
        LeCun, Bottou, Orr, Müller 1998 (Efficient BackProp), section 4.3.
    """
    return on_model(training, _Standardise(training))


def _all_but_features(dimensions: int) -> tuple[int, ...]:
    """Return the dimensions that aren't that of the features: the last of a row or a sequence, the second of images."""
    feature = 1 if dimensions > 3 else dimensions - 1
    return tuple(d for d in range(dimensions) if d != feature)


def _standardised(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    first = next(i for i, each in enumerate(given) if isinstance(each, Tensor) and each.is_floating_point())
    made = (given[first] - module.input_mean) / module.input_deviation
    return (*given[:first], made, *given[first + 1 :])


@dataclass(frozen=True)
class _Standardise:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        x = inputs_of(model, self.training)
        over = _all_but_features(x.ndim)
        mean, deviation = x.mean(over, keepdim=True), x.std(over, keepdim=True)
        model.register_buffer("input_mean", mean)  # no module: nn.Sequential would call it as its last
        model.register_buffer("input_deviation", deviation.where(deviation > 0, torch.ones_like(deviation)))
        model.register_forward_pre_hook(_standardised)


def inputs_of(model: nn.Module, training: Training) -> Tensor:
    """Return what a model is called with on some batches, one behind the other.

    Raises:
        ValueError: it isn't called with a tensor of numbers.
    """
    seen: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        del module
        seen.extend([each.detach() for each in given if isinstance(each, Tensor) and each.is_floating_point()][:1])

    handle = model.register_forward_pre_hook(note)
    try:
        run_loss(model, training, STANDARDISED_ON)
    finally:
        handle.remove()
    if not seen or seen[0].ndim < 2:
        raise ValueError("the model isn't called with a tensor of numbers, so there is nothing to standardise")
    return torch.cat([x for x in seen if x.shape[1:] == seen[0].shape[1:]])


@standardise.proposes
def _proposed_standardisation(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    rms = [float(v) for v in diagnosis.column("input_rms")[[s for layer in diagnosis.layers[-1:] for s in layer.sites]]]
    inputs = known_facts(diagnosis).get("inputs") or {"rms": rms[0] if rms else math.nan, "spread": 1.0}
    if inputs["rms"] > 0 and not 0.1 <= inputs["rms"] <= 10:
        yield Proposal({}, f"inputs have a root mean square of {inputs['rms']:.2g}", 0.95)
    elif inputs["spread"] > UNEQUAL:
        yield Proposal({}, f"the scales of features differ {inputs['spread']:.2g} times", 0.85)
    elif "UT706" in codes:
        yield Proposal({}, "inputs are out of scale", 0.7)
    elif codes & {"UT201", "UT102", "UT401", "UT202", "UT405", "UT704"} or unlearned(diagnosis):
        yield Proposal({}, "the inputs' scale is usual; standard units may help all the same", 0.35)


@standardise.written
def _standardise_lines() -> str:
    return _standardise_call("0")


@standardise.written_for
def _standardise_lines_for(training: Training) -> str:
    dimensions = _all_but_features(inputs_of(fresh(training), training).ndim)
    return _standardise_call(str(dimensions[0]) if len(dimensions) == 1 else str(dimensions))


def _standardise_call(over: str) -> str:
    return (
        f"deviation = x_train.std({over}, keepdim=True)\n"
        f'model.register_buffer("input_mean", x_train.mean({over}, keepdim=True))\n'
        'model.register_buffer("input_deviation", deviation.where(deviation > 0, torch.ones_like(deviation)))\n'
        "model.register_forward_pre_hook(\n"
        "    lambda model, given: ((given[0] - model.input_mean) / model.input_deviation, *given[1:])\n"
        ")"
    )


@remedy("UR305", "normalisation in front of each branch (pre-norm)", "C", ["UT406", "UT101", "UT108", "UT405", "UT205"])
def prenorm(training: Training) -> Training:
    """Let torch's transformer layers normalise before a branch instead of after the sum.

    What it changes:
        ``norm_first`` of every ``nn.TransformerEncoderLayer`` and ``nn.TransformerDecoderLayer``; a LayerNorm is put
        behind the last of them, where there is none.
    When:
        A deep transformer with the normalisation behind the sum breaks without a warm-up.
    Predicts:
        The gradient of a block no longer grows towards the last one.
    References:
        Xiong et al. 2020 (On layer normalization in the transformer architecture).
    """
    return on_model(training, _prenorm)


def _prenorm(model: nn.Module) -> None:
    late = [m for m in model.modules() if isinstance(m, _TRANSFORMER_LAYERS) and not m.norm_first]
    if not late:
        raise ValueError("the model has no transformer layer of torch's with the normalisation behind the sum")
    for layer in late:
        layer.norm_first = True
    for stack in model.modules():
        if isinstance(stack, nn.TransformerEncoder | nn.TransformerDecoder) and stack.norm is None:
            weight = next(stack.parameters())
            width = stack.layers[0].norm1.normalized_shape
            stack.norm = nn.LayerNorm(width, device=weight.device, dtype=weight.dtype)


@prenorm.proposes
def _proposed_prenorm(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any("Transformer" in site.module_type for site in diagnosis.run.sites):
        found = [finding.code for finding in diagnosis.findings if finding.code in ("UT406", "UT101", "UT108", "UT405")]
        yield Proposal({}, "its normalisations stand behind the sums", 0.75 if found else 0.35)


@prenorm.written
def _prenorm_lines() -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):\n"
        "        module.norm_first = True\n"
        "    if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)) and module.norm is None:\n"
        "        module.norm = nn.LayerNorm(module.layers[0].norm1.normalized_shape)"
    )


@remedy("UR306", "a recurrence that keeps its state to begin with (IRNN)", "C", ["UT107", "UT101"])
def irnn(training: Training) -> Training:
    """Let a plain RNN start as the identity with ReLU.

    What it changes:
        ``nonlinearity`` of ``nn.RNN`` to "relu", the recurrent weights to the identity, the biases to zero.
    When:
        The gradient fades through time in a plain RNN.
    Predicts:
        Every step passes the whole gradient on, where units are positive.
    References:
        Le, Jaitly, Hinton 2015.
    """
    return on_model(training, _irnn)


def _irnn(model: nn.Module) -> None:
    found = [m for m in model.modules() if type(m) is nn.RNN]
    if not found:
        raise ValueError("the model has no nn.RNN")
    for rnn in found:
        rnn.nonlinearity, rnn.mode = "relu", "RNN_RELU"
        for name, parameter in rnn.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.eye_(parameter)
            elif name.startswith("weight_ih"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)


@irnn.proposes
def _proposed_irnn(diagnosis: Diagnosis) -> Iterator[Proposal]:
    yield from _for_plain_rnn(diagnosis, "its steps shrink the gradient", 0.6)


def _for_plain_rnn(diagnosis: Diagnosis, reason: str, urgency: float) -> Iterator[Proposal]:
    plain = any(site.module_type == "RNN" for site in diagnosis.run.sites)
    codes = {finding.code for finding in diagnosis.findings}
    if plain and (codes & {"UT107", "UT101", "UT704", "UT104"} or unlearned(diagnosis)):
        yield Proposal({}, reason, urgency)


@irnn.written
def _irnn_lines() -> str:
    return (
        "for rnn in [module for module in model.modules() if type(module) is nn.RNN]:\n"
        '    rnn.nonlinearity, rnn.mode = "relu", "RNN_RELU"\n'
        "    for name, parameter in rnn.named_parameters():\n"
        '        if name.startswith("weight_hh"):\n'
        "            nn.init.eye_(parameter)\n"
        '        elif name.startswith("weight_ih"):\n'
        "            nn.init.normal_(parameter, std=0.01)\n"
        "        else:\n"
        "            nn.init.zeros_(parameter)"
    )


@remedy("UR307", "a GRU that remembers in place of a plain RNN", "C", ["UT107", "UT101"])
def gated(training: Training, bias: float = FORGET) -> Training:
    """Put a GRU whose update gates start open in the place of every plain RNN.

    What it changes:
        Every ``nn.RNN`` becomes an ``nn.GRU`` of the same sizes, with the update gate's bias set.
    When:
        A plain RNN can't carry anything over many steps. A GRU as PyTorch makes it can't either: the bias matters.
    Predicts:
        A step keeps sigma(bias) of the state: 0.95 at 3.
    References:
        Cho et al. 2014; Jozefowicz, Zaremba, Sutskever 2015.
    """
    return on_model(training, partial(_gated, bias=bias))


def _gated(model: nn.Module, bias: float) -> None:
    found = [(name, m) for name, m in model.named_modules() if type(m) is nn.RNN]
    if not found or any(not name for name, _ in found):
        raise ValueError("the model has no nn.RNN inside it")
    for name, rnn in found:
        weight = next(rnn.parameters())
        gru = nn.GRU(
            rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.bias, rnn.batch_first, rnn.dropout, rnn.bidirectional,
            device=weight.device, dtype=weight.dtype,
        )  # fmt: skip
        remember(gru, bias)
        replace_module(model, name, gru)


@gated.proposes
def _proposed_gates(diagnosis: Diagnosis) -> Iterator[Proposal]:
    for each in _for_plain_rnn(diagnosis, "a plain RNN forgets within a few steps", 0.55):
        yield each._replace(settings={"bias": FORGET})


@gated.written
def _gated_lines(bias: float = FORGET) -> str:
    return (
        "for name, rnn in [(n, m) for n, m in model.named_modules() if type(m) is nn.RNN]:\n"
        "    sizes = (rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.bias, rnn.batch_first, rnn.dropout)\n"
        "    gru = nn.GRU(*sizes, rnn.bidirectional)\n"
        "    for key, parameter in gru.named_parameters():\n"
        '        if key.startswith("bias"):\n'
        "            gate = slice(gru.hidden_size, 2 * gru.hidden_size)\n"
        f'            parameter.data[gate] = {bias:g} if "_ih" in key else 0.0\n'
    ) + "\n".join(put_in_place("gru"))


@remedy("UR308", "modules that are kept in lists registered", "C", ["UT502"])
def register(training: Training) -> Training:
    """Register modules that the model keeps in a plain list or dict, so that the optimizer finds their parameters.

    What it changes:
        Lists and tuples of modules become ``nn.ModuleList``, dicts ``nn.ModuleDict``.
    When:
        Layers are used and are no parameters of the model, so nobody trains them.
    Predicts:
        They learn.
    References:
        PyTorch documentation, torch.nn.ModuleList.
    """
    return on_model(training, _register)


def _register(model: nn.Module) -> None:
    found = [(module, *rest) for module in model.modules() for rest in _held_in(module)]
    if not found:
        raise ValueError("the model keeps no modules in a plain list or dict")
    for module, name, value in found:
        delattr(module, name)
        setattr(module, name, nn.ModuleDict(value) if isinstance(value, dict) else nn.ModuleList(value))


def _all_modules(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and isinstance(each, nn.Module) for key, each in value.items())
    return isinstance(value, list | tuple) and all(isinstance(each, nn.Module) for each in value)


@register.proposes
def _proposed_registration(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT502" for finding in diagnosis.findings):
        yield Proposal({}, "layers take gradient and are no parameters of the model", 1.0)


@register.written
def _register_lines() -> str:
    return "model.layers = nn.ModuleList(model.layers)  # wherever a plain list holds modules"


@register.written_for
def _register_lines_for(training: Training) -> str:
    held = [(name, *rest) for name, module in fresh(training).named_modules() for rest in _held_in(module)]
    lines = []
    for path, name, value in held:
        owner = f"model.{path}" if path else "model"
        kind = "ModuleDict" if isinstance(value, dict) else "ModuleList"
        lines.append(f"{owner}.{name} = nn.{kind}({owner}.{name})")
    return "\n".join(lines)


def _held_in(module: nn.Module) -> list[tuple[str, Any]]:
    """Return names and values of the plain lists and dicts of modules that a module keeps."""
    found = [(name, value) for name, value in vars(module).items() if value and not name.startswith("_")]
    return [(name, value) for name, value in found if _all_modules(value)]


@remedy("UR309", "less dropout", "C", ["UT704"])
def less_dropout(training: Training, p: float = 0.1) -> Training:
    """Lower the rate of every dropout.

    What it changes:
        ``p`` of dropout modules, of recurrent layers' own, and of attention's.
    When:
        Most of what a layer makes is thrown away, and the network can't even learn what it is trained on.
    Predicts:
        The gradient's noise falls.
    References:
        Srivastava et al. 2014.
    """
    return on_model(training, partial(_less_dropout, p=p))


def _less_dropout(model: nn.Module, p: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = min(module.p, p)
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = min(float(module.dropout), p)  # type: ignore[arg-type,assignment]  # a float: just asked


@less_dropout.proposes
def _proposed_dropout(diagnosis: Diagnosis) -> Iterator[Proposal]:
    rate = float(known_facts(diagnosis).get("dropout", 0.0))
    lost = any(finding.code == "UT704" for finding in diagnosis.findings)
    if rate > 0.6 or (lost and rate > 0.2):
        yield Proposal({"p": 0.1}, f"dropout throws {rate:.0%} away", 0.8 if rate > 0.6 else 0.5)


@less_dropout.written
def _dropout_lines(p: float = 0.1) -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)):\n"
        f"        module.p = min(module.p, {p:g})\n"
        '    elif isinstance(getattr(module, "dropout", None), float):  # attention, recurrent layers\n'
        f"        module.dropout = min(module.dropout, {p:g})"
    )


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
    if functions_called(model, training, Rewiring(_ANY_ACTIVATION, through, seen.head.name if seen.head else "")):
        raise ValueError("the model calls activations already")
    found = []
    for part in seen.hidden:
        behind = next((each for each in seen.after(part) if not isinstance(each.module, _PASSING)), None)
        if behind is not None and isinstance(behind.module, LAYERS):
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


@remedy("UR311", "normalisation of each example by itself", "C", ["UT505", "UT703"])
def alone(training: Training) -> Training:
    """Put a GroupNorm of one group in the place of every BatchNorm, so that an example doesn't depend on others.

    What it changes:
        BatchNorm modules; their gains and biases keep their names.
    When:
        Batches are too small for their mean and variance to say anything: of one value, variance is zero.
    Predicts:
        Evaluation and training compute the same function.
    References:
        Wu, He 2018 (Group normalization).
    """
    return on_model(training, _alone)


def _alone(model: nn.Module) -> None:
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not found:
        raise ValueError("the model has no BatchNorm")
    for name, norm in found:
        place = next(norm.parameters(), torch.empty(0))
        replace_module(
            model, name, nn.GroupNorm(1, norm.num_features, affine=norm.affine, device=place.device, dtype=place.dtype)
        )


@alone.proposes
def _proposed_alone(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT505" for finding in diagnosis.findings):
        yield Proposal({}, "normalisation has next to nothing to average over", 0.9)
    elif any("batch_norm" in site.op or "BatchNorm" in site.module_type for site in diagnosis.run.sites):
        yield Proposal({}, "examples depend on the others of their batch", 0.25)


@alone.written
def _alone_lines() -> str:
    return (
        "kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)\n"
        "for name, norm in [(n, m) for n, m in model.named_modules() if isinstance(m, kinds)]:\n"
    ) + "\n".join(put_in_place("nn.GroupNorm(1, norm.num_features, affine=norm.affine)"))
