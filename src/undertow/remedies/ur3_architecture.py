"""UR3xx, level C: another architecture. What is added is put beside the modules there are, whose names stay."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from undertow.diagnosis import Diagnosis
from undertow.record import Role
from undertow.remedies.anatomy import NORMS, Anatomy, Part, anatomy, replace_module, weight_of
from undertow.remedies.changing import on_model
from undertow.remedies.registry import Proposal, remedy
from undertow.remedies.ur2_start import FORGET, GAINS, activation_of, draw, remember
from undertow.training import Training

MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "elu": nn.ELU,
}  # fmt: skip
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu, "leaky_relu": functional.leaky_relu, "gelu": functional.gelu, "silu": functional.silu,
    "tanh": torch.tanh, "elu": functional.elu,
}  # fmt: skip
SWAPPED = (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Hardsigmoid, nn.Hardtanh, nn.LogSigmoid, nn.Tanhshrink, nn.ReLU6)
SWAPPED_NAMES = frozenset({"sigmoid", "tanh", "relu", "hardsigmoid", "hardtanh", "relu_", "sigmoid_", "tanh_", "relu6"})
SATURATING = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh"})
DEEP = 8


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
        for part in _in_front_of_head(seen):
            if isinstance(part.module, SWAPPED):
                replace_module(model, part.name, MODULES[self.to]())
        model.register_forward_pre_hook(_Entering(self.to), with_kwargs=True)
        model.register_forward_hook(_leave, with_kwargs=True, always_call=True)
        draw(model, GAINS.get(self.to, 2.0))


def _in_front_of_head(seen: Anatomy) -> Iterator[Part]:
    head = seen.head
    for part in seen.parts:
        if head is not None and part.name == head.name:
            return
        yield part


class _SwapMode(TorchFunctionMode):
    """Calls another activation wherever a function of torch's is called that is one, but for the model's output."""

    def __init__(self, to: str) -> None:
        super().__init__()
        self._to = FUNCTIONS[to]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, or the one in its place."""
        del types
        if getattr(func, "__name__", "") in SWAPPED_NAMES and args and func is not self._to:
            return self._to(args[0])
        return func(*args, **(kwargs or {}))


class _Entering:
    """Opens the mode around a model's forward pass; can be copied, as the mode itself is made anew each time."""

    def __init__(self, to: str) -> None:
        self.to = to

    def __call__(self, module: nn.Module, given: Any, keywords: Any) -> None:
        del given, keywords
        mode = _SwapMode(self.to)
        module.__dict__.setdefault("_undertow_modes", []).append(mode)
        mode.__enter__()  # type: ignore[no-untyped-call]  # torch's


def _leave(module: nn.Module, given: Any, keywords: Any, made: Any) -> None:
    del given, keywords, made
    module.__dict__["_undertow_modes"].pop().__exit__(None, None, None)


@activation.proposes
def _proposed_activation(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    now = activation_of(diagnosis)
    if now in SATURATING and codes & {"UT101", "UT201", "UT104", "UT301", "UT704"}:
        yield Proposal({"to": "relu"}, f"{now}'s slope takes the gradient away", 0.7)
        if now == "sigmoid":
            yield Proposal({"to": "tanh"}, "tanh is four times as steep as the sigmoid at 0", 0.6)
    elif now == "relu" and "UT202" in codes:
        yield Proposal({"to": "leaky_relu"}, "units are dead: a leaky ReLU passes gradient on at both sides", 0.65)


@activation.written
def _activation_lines(to: str = "relu") -> str:
    return (
        "def swap(module):\n"
        "    for name, child in module.named_children():\n"
        "        if isinstance(child, (nn.Sigmoid, nn.Tanh, nn.ReLU)):\n"
        f"            setattr(module, name, nn.{type(MODULES[to]()).__name__}())\n"
        "        swap(child)\n"
        "swap(model)  # leave the output's own activation as it is\n"
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Linear, nn.Conv2d)):\n"
        f"        nn.init.normal_(module.weight, std=({GAINS.get(to, 2.0):g} / module.weight[0].numel()) ** 0.5)\n"
        "        nn.init.zeros_(module.bias)"
    )


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
        seen = anatomy(model, self.training)
        if any(isinstance(part.module, NORMS) for part in seen.parts):
            raise ValueError("the model has normalisations already")
        placed = [part for part in seen.hidden if part.calls == 1 and part.made is not None]
        if not placed:
            raise ValueError("the model has no hidden layer that is called once")
        for part in placed:
            norm = _norm(part.made, weight_of(part.module), self.kind)
            part.module.add_module("norm", norm)
            part.module.register_forward_hook(_call_norm)


def _norm(made: Tensor | None, weight: Tensor, kind: str) -> nn.Module:
    assert made is not None  # noqa: S101  # the caller looked
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if kind == "layer" or (made.ndim == 3 and weight.ndim == 2):
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


@normalise.written
def _norm_lines(kind: str = "batch") -> str:
    norm = "nn.LayerNorm" if kind == "layer" else "nn.BatchNorm1d  # nn.BatchNorm2d behind a convolution"
    return f"# behind every hidden layer, before its activation:\nself.norm = {norm}\nx = self.norm(self.layer(x))"


@remedy("UR303", "residual connections, closed to begin with", "C", ["UT101", "UT102", "UT106", "UT205", "UT301"])
def rezero(training: Training) -> Training:
    """Add what goes into a layer to what its activation makes, times a gate that starts at zero.

    What it changes:
        Layers that make as many features as they take, and are followed by an activation module: x + gate f(x).
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
        self.kept.append(given[0])

    def add(self, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        """Add it to what the activation makes."""
        del module, given
        return self.kept.pop() + self.gate * made


@dataclass(frozen=True)
class _ReZero:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        seen = anatomy(model, self.training)
        blocks = [(part, act) for part in seen.hidden if (act := _activation_behind(seen, part)) is not None]
        if not blocks:
            raise ValueError("no layer keeps its number of features and has an activation module behind it")
        for layer, act in blocks:
            gate = Gate(weight_of(layer.module))
            layer.module.add_module("residual", gate)
            layer.module.register_forward_pre_hook(gate.keep)
            act.module.register_forward_hook(gate.add)


def _activation_behind(seen: Anatomy, part: Part) -> Part | None:
    behind = [each for each in seen.after(part) if not isinstance(each.module, (*NORMS, nn.Dropout))][:1]
    fits = part.given is not None and part.made is not None and part.given.shape == part.made.shape
    once = part.calls == 1 and behind and behind[0].calls == 1
    return behind[0] if fits and once and isinstance(behind[0].module, (*SWAPPED, nn.GELU, nn.SiLU, nn.ELU)) else None


@rezero.proposes
def _proposed_rezero(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    joined = any(site.role is Role.JOIN for site in diagnosis.run.sites)
    if not joined and len(diagnosis.layers) >= DEEP and codes & {"UT101", "UT102", "UT301", "UT205", "UT104"}:
        yield Proposal({}, f"{len(diagnosis.layers)} layers in a row without a way around them", 0.7)


@rezero.written
def _rezero_lines() -> str:
    return (
        "self.gate = nn.Parameter(torch.zeros(()))  # one for each layer, in __init__\n"
        "x = x + self.gate * self.activation(self.layer(x))  # in forward"
    )


@remedy("UR304", "inputs standardised", "C", ["UT706", "UT201", "UT102", "UT401", "UT202", "UT405"])
def standardise(training: Training) -> Training:
    """Subtract each feature's mean from the inputs and divide by its standard deviation.

    What it changes:
        A module with the means and deviations as buffers, called in front of the model.
    When:
        Inputs are far from unit scale, or their features are of very different scales.
    Predicts:
        The first layer's pre-activations and the gradient of its weights are divided by the inputs' scale.
    References:
        LeCun, Bottou, Orr, Müller 1998 (Efficient BackProp), section 4.3.
    """
    return on_model(training, _Standardise(training))


class Standardisation(nn.Module):
    """(x - mean) / deviation, feature by feature."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        feature = 1 if x.ndim > 3 or x.ndim == 2 else x.ndim - 1
        over = [d for d in range(x.ndim) if d != feature] if x.ndim > 1 else [0]
        mean, deviation = x.mean(over, keepdim=True), x.std(over, keepdim=True)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise."""
        return (x - self.mean) / self.deviation  # type: ignore[operator]  # buffers


def _standardised(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    first = next(i for i, each in enumerate(given) if isinstance(each, Tensor) and each.is_floating_point())
    made = module.standardisation(given[first])  # type: ignore[operator]  # put there together with this hook
    return (*given[:first], made, *given[first + 1 :])


@dataclass(frozen=True)
class _Standardise:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        inputs = [x for x in _inputs(model, self.training) if x.ndim > 1]
        if not inputs:
            raise ValueError("the model isn't called with a tensor of numbers, so there is nothing to standardise")
        model.add_module("standardisation", Standardisation(torch.cat(inputs)))
        model.register_forward_pre_hook(_standardised)


def _inputs(model: nn.Module, training: Training) -> list[Tensor]:
    """Return what the model is called with, in as many batches as a sample has that are alike in shape."""
    seen: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Any, ...]) -> None:
        del module
        seen.extend([each.detach() for each in given if isinstance(each, Tensor) and each.is_floating_point()][:1])

    handle = model.register_forward_pre_hook(note)
    try:
        with torch.no_grad():
            for batch in training.sample():
                training.loss(model, batch)
    finally:
        handle.remove()
    return [x for x in seen if x.shape[1:] == seen[0].shape[1:]]


@standardise.proposes
def _proposed_standardisation(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    rms = [float(v) for v in diagnosis.column("input_rms")[[s for layer in diagnosis.layers[-1:] for s in layer.sites]]]
    far = any(not 0.1 <= each <= 10 for each in rms if each == each and each > 0)
    if far or "UT706" in codes:
        yield Proposal({}, f"inputs have a root mean square of {rms[0]:.2g}" if rms else "inputs are out of scale", 0.9)
    elif codes & {"UT201", "UT102", "UT401", "UT202", "UT405", "UT704"}:
        yield Proposal({}, "nobody has looked at the inputs' scale", 0.4)


@standardise.written
def _standardise_lines() -> str:
    return (
        "mean, deviation = x_train.mean(0), x_train.std(0).clamp(min=1e-8)\n"
        "x = (x - mean) / deviation  # of every batch"
    )


@remedy("UR305", "normalisation in front of each branch (pre-norm)", "C", ["UT406", "UT101", "UT108", "UT405", "UT205"])
def prenorm(training: Training) -> Training:
    """Let torch's transformer layers normalise before a branch instead of after the sum.

    What it changes:
        ``norm_first`` of every ``nn.TransformerEncoderLayer`` and ``nn.TransformerDecoderLayer``.
    When:
        A deep transformer with the normalisation behind the sum breaks without a warm-up.
    Predicts:
        The gradient of a block no longer grows towards the last one.
    References:
        Xiong et al. 2020 (On layer normalization in the transformer architecture).
    """
    return on_model(training, _prenorm)


def _prenorm(model: nn.Module) -> None:
    found = [m for m in model.modules() if isinstance(m, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer)]
    late = [m for m in found if not m.norm_first]
    if not late:
        raise ValueError("the model has no transformer layer of torch's with the normalisation behind the sum")
    for layer in late:
        layer.norm_first = True


@prenorm.proposes
def _proposed_prenorm(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any("Transformer" in site.module_type for site in diagnosis.run.sites):
        found = [finding.code for finding in diagnosis.findings if finding.code in ("UT406", "UT101", "UT108", "UT405")]
        yield Proposal({}, "its normalisations stand behind the sums", 0.75 if found else 0.35)


@prenorm.written
def _prenorm_lines() -> str:
    return "nn.TransformerEncoderLayer(..., norm_first=True)"


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
    if plain and any(finding.code in ("UT107", "UT101", "UT704", "UT104") for finding in diagnosis.findings):
        yield Proposal({}, reason, urgency)


@irnn.written
def _irnn_lines() -> str:
    return (
        'rnn = nn.RNN(..., nonlinearity="relu")\n'
        "for name, parameter in rnn.named_parameters():\n"
        '    nn.init.eye_(parameter) if "weight_hh" in name else nn.init.zeros_(parameter) if "bias" in name else '
        "nn.init.normal_(parameter, std=0.01)"
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
        "gru = nn.GRU(...)  # with the sizes of the nn.RNN\n"
        "for name, parameter in gru.named_parameters():\n"
        '    if name.startswith("bias"):\n'
        f'        parameter.data[gru.hidden_size : 2 * gru.hidden_size] = {bias:g} if "_ih" in name else 0.0'
    )


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
    found = [(module, name, value) for module in model.modules() for name, value in list(vars(module).items())]
    for module, name, value in found:
        if isinstance(value, list | tuple) and value and all(isinstance(each, nn.Module) for each in value):
            delattr(module, name)
            setattr(module, name, nn.ModuleList(value))
        elif isinstance(value, dict) and name != "_modules" and value and _all_modules(value):
            delattr(module, name)
            setattr(module, name, nn.ModuleDict(value))


def _all_modules(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(key, str) and isinstance(each, nn.Module) for key, each in value.items())


@register.proposes
def _proposed_registration(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code == "UT502" for finding in diagnosis.findings):
        yield Proposal({}, "layers take gradient and are no parameters of the model", 1.0)


@register.written
def _register_lines() -> str:
    return "self.layers = nn.ModuleList(layers)  # in place of a plain list, in __init__"


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
    drops = any("dropout" in site.op for site in diagnosis.run.sites)
    if drops and any(finding.code == "UT704" for finding in diagnosis.findings):
        yield Proposal({"p": 0.1}, "dropout may throw too much away", 0.5)


@less_dropout.written
def _dropout_lines(p: float = 0.1) -> str:
    return f"for module in model.modules():\n    if isinstance(module, nn.Dropout):\n        module.p = {p:g}"
