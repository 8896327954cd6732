"""UR2xx, level B: other weights to begin with. The architecture and the names in a checkpoint stay as they are."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import GAINS
from undertow.record import main_activation
from undertow.remedies.anatomy import LAYERS, RECURRENT, Part, anatomy, fresh, run_loss, weight_of
from undertow.remedies.changing import on_model
from undertow.remedies.facts import unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

OF_SCALE = ("UT101", "UT102", "UT301", "UT106", "UT104")
LSUV_STEPS, LSUV_CLOSE = 8, 0.05
FORGET = 3.0


@remedy(
    "UR201",
    "weights drawn with the variance that their activation needs",
    "B",
    [*OF_SCALE, "UT201", "UT202", "UT302", "UT109"],
)
def variance(training: Training, activation: str = "relu") -> Training:
    """Draw the weights of all layers anew: He's variance for ReLU, LeCun's for tanh; biases zero.

    What it changes:
        Weights of linear layers and convolutions, the head included. Embeddings and norms stay.
    When:
        The gradient loses or gains its scale in the weights. PyTorch's own start has n_in Var W = 1/3: ReLU loses 0.39
        decades of gradient a layer with it.
    Predicts:
        Each layer passes on as much gradient as it receives: 0 decades of it by weights.
    References:
        He et al. 2015 (Delving deep into rectifiers); Glorot, Bengio 2010.
    """
    return on_model(training, partial(draw, needed=GAINS.get(activation, 2.0)))


def draw(model: nn.Module, needed: float) -> None:
    """Draw the weights of all layers with n_in Var W as needed, and set biases to zero."""
    with torch.no_grad():
        for layer in _layers(model):
            weight = weight_of(layer)
            fan_in = weight[:, 0].numel() if _transposed(layer) else weight[0].numel()
            weight.normal_(0.0, math.sqrt(needed / fan_in))
            _no_bias(layer)


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield linear layers and convolutions that are trained, those whose weight isn't computed from others."""
    for module in model.modules():
        if isinstance(module, LAYERS) and isinstance(module.weight, nn.Parameter) and module.weight.requires_grad:
            yield module


def _transposed(layer: nn.Module) -> bool:
    return bool(getattr(layer, "transposed", False))


def _no_bias(layer: nn.Module) -> None:
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # a parameter, as it isn't None


def activation_of(diagnosis: Diagnosis) -> str:
    """Return the activation that the model has most of; "relu" where it has none that is known."""
    return main_activation(diagnosis.run.sites) or "relu"


@variance.proposes
def _proposed_variance(diagnosis: Diagnosis) -> Iterator[Proposal]:
    found = {finding.code for finding in diagnosis.findings} & {*OF_SCALE, "UT201", "UT202", "UT302", "UT109"}
    activation = activation_of(diagnosis)
    if found and activation in GAINS:
        by_weights = sum(
            math.log10(g.factors.get("weights", 1.0)) for g in diagnosis.gains if g.factors.get("weights", 1.0) > 0
        )
        reason = f"the weights change the gradient by {by_weights:+.1f} decades"
        yield Proposal({"activation": activation}, reason, 0.75 if abs(by_weights) > 0.5 else 0.5, -by_weights)
    elif activation in GAINS and unlearned(diagnosis):
        yield Proposal({"activation": activation}, "the training doesn't learn; its start may be to blame", 0.35)


@variance.written
def variance_lines(activation: str = "relu") -> str:
    """Return the lines that draw weights with the variance that an activation needs."""
    needed = GAINS.get(activation, 2.0)
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):\n"
        f"        nn.init.normal_(module.weight, std=({needed:g} / module.weight[0].numel()) ** 0.5)\n"
        "        if module.bias is not None:\n"
        "            nn.init.zeros_(module.bias)"
    )


@remedy("UR202", "orthogonal weights", "B", [*OF_SCALE, "UT302"])
def orthogonal(training: Training, activation: str = "relu") -> Training:
    """Draw the weights of all layers as orthogonal matrices, scaled for their activation; biases zero.

    What it changes:
        Weights of linear layers and convolutions (these as matrices of all taps).
    When:
        As UR201, in deep and narrow networks: there the spread of what layers do to a gradient matters, and not only
        its mean.
    Predicts:
        All singular values of a layer are equal.
    References:
        Saxe, McClelland, Ganguli 2014; Xiao et al. 2018 (for convolutions).
    """
    return on_model(training, partial(_make_orthogonal, gain=math.sqrt(GAINS.get(activation, 2.0))))


def _make_orthogonal(model: nn.Module, gain: float) -> None:
    for layer in _layers(model):
        nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]  # `_layers` looked
        _no_bias(layer)


@orthogonal.proposes
def _proposed_orthogonal(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code in OF_SCALE for finding in diagnosis.findings) and len(diagnosis.layers) >= 6:
        yield Proposal({"activation": activation_of(diagnosis)}, f"the network has {len(diagnosis.layers)} layers", 0.6)


@orthogonal.written
def _orthogonal_lines(activation: str = "relu") -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):\n"
        f"        nn.init.orthogonal_(module.weight, gain={GAINS.get(activation, 2.0):g} ** 0.5)\n"
        "        if module.bias is not None:\n"
        "            nn.init.zeros_(module.bias)"
    )


@remedy("UR203", "every layer's output scaled to one on a batch (LSUV)", "B", OF_SCALE)
def lsuv(training: Training) -> Training:
    """Draw orthogonal weights, then scale each layer until its output has standard deviation 1 on a batch.

    What it changes:
        Weights of linear layers and convolutions, in the order in which they run.
    When:
        The scale is lost in the weights and theory has no law for this network: odd activations, joins, pooling.
    Predicts:
        Activations of unit scale everywhere.
    References:
        Mishkin, Matas 2016 (All you need is a good init).
    """
    return on_model(training, _Lsuv(training))


@dataclass(frozen=True)
class _Lsuv:
    training: Training

    def __call__(self, model: nn.Module) -> None:
        _make_orthogonal(model, 1.0)
        for part in anatomy(model, self.training).layers:
            for _ in range(LSUV_STEPS):
                spread = self._spread(model, part.module)
                if not spread > 0 or abs(spread - 1) < LSUV_CLOSE:
                    break
                with torch.no_grad():
                    weight_of(part.module).div_(spread)

    def _spread(self, model: nn.Module, layer: nn.Module) -> float:
        seen: list[float] = []
        handle = layer.register_forward_hook(lambda _module, _given, made: seen.append(float(made.std())))
        try:
            run_loss(model, self.training)
        finally:
            handle.remove()
        return seen[0] if seen and math.isfinite(seen[0]) else 0.0


@lsuv.proposes
def _proposed_lsuv(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code in OF_SCALE for finding in diagnosis.findings):
        yield Proposal({}, "layers change the scale of what goes through them", 0.55)


@lsuv.written
def _lsuv_lines() -> str:
    return (
        "layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))]\n"
        "for layer in layers:  # in the order in which they run\n"
        "    nn.init.orthogonal_(layer.weight)\n"
        "    if layer.bias is not None:\n"
        "        nn.init.zeros_(layer.bias)\n"
        "for layer in layers:\n"
        "    seen = []\n"
        "    hook = layer.register_forward_hook(lambda module, given, made, seen=seen: seen.append(made.std()))\n"
        f"    for _ in range({LSUV_STEPS}):\n"
        "        with torch.no_grad():\n"
        "            model(x)  # x: a batch of inputs\n"
        f"            if abs(seen[-1] - 1) < {LSUV_CLOSE}:\n"
        "                break\n"
        "            layer.weight /= seen[-1]\n"
        "    hook.remove()"
    )


@remedy("UR204", "a small head to begin with", "B", ["UT401", "UT706", "UT102"])
def small_head(training: Training, factor: float = 0.1) -> Training:
    """Make the last layer's weights small and its bias zero, so that the first outputs are near zero.

    What it changes:
        The head's weight, times the factor, and its bias.
    When:
        The first loss is far above that of an even guess: the first steps are spent on shrinking the outputs.
    Predicts:
        The first loss is that of an even guess, ln of the number of classes.
    References:
        Lin et al. 2017 (focal loss), section 3.3; Karpathy 2019 (A recipe for training neural networks).
    """
    return on_model(training, _SmallHead(training, factor))


@dataclass(frozen=True)
class _SmallHead:
    training: Training
    factor: float

    def __call__(self, model: nn.Module) -> None:
        head = _head(model, self.training).module
        with torch.no_grad():
            weight_of(head).mul_(self.factor)
            _no_bias(head)


def _head(model: nn.Module, training: Training) -> Part:
    head = anatomy(model, training).head
    if head is None:
        raise ValueError("the model has no linear layer or convolution that could be its head")
    return head


@small_head.proposes
def _proposed_head(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code in ("UT401", "UT706", "UT102") for finding in diagnosis.findings):
        yield Proposal({"factor": 0.1}, "the first loss is far above that of an even guess", 0.35)


@small_head.written
def _head_lines(factor: float = 0.1) -> str:
    return _shrink("model.head  # its last layer", factor, bias=True)


@small_head.written_for
def _head_lines_for(training: Training, factor: float = 0.1) -> str:
    head = _head(fresh(training), training)
    return _shrink(f"model.get_submodule({head.name!r})", factor, getattr(head.module, "bias", None) is not None)


def _shrink(head: str, factor: float, bias: bool) -> str:
    lines = [f"head = {head}", "with torch.no_grad():", f"    head.weight *= {factor:g}"]
    return "\n".join([*lines, *(["    head.bias.zero_()"] if bias else [])])


@remedy(
    "UR205",
    "weights as PyTorch starts them",
    "B",
    ["UT302", "UT301", "UT101", "UT102", "UT109", "UT201", "UT202", "UT204"],
)
def torch_default(training: Training) -> Training:
    """Draw all weights anew as PyTorch's modules do by themselves.

    What it changes:
        Every module that has ``reset_parameters`` draws its parameters again.
    When:
        All weights of a layer are equal or zero, so that its units stay alike, or a start of one's own is far off.
    Predicts:
        No two units are alike.
    References:
        Goodfellow, Bengio, Courville 2016, section 8.4.
    """
    return on_model(training, _reset)


def _reset(model: nn.Module) -> None:
    for module in model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()


@torch_default.proposes
def _proposed_default(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    if codes & {"UT302", "UT109"}:
        yield Proposal({}, "units of a layer are alike", 0.9)
    elif codes & {"UT301", "UT101", "UT102", "UT201", "UT202", "UT204"}:
        yield Proposal({}, "the start may be far from PyTorch's own", 0.45)
    elif unlearned(diagnosis):
        yield Proposal({}, "the training doesn't learn; its start may be to blame", 0.35)


@torch_default.written
def _default_lines() -> str:
    return (
        'for module in model.modules():\n    if hasattr(module, "reset_parameters"):\n        module.reset_parameters()'
    )


@remedy("UR206", "orthogonal recurrent weights", "B", ["UT107", "UT101"])
def rnn_orthogonal(training: Training) -> Training:
    """Make the matrix that takes a state to the next one orthogonal, gate by gate.

    What it changes:
        ``weight_hh`` of RNN, GRU and LSTM modules and cells; their biases stay.
    When:
        The gradient fades through time because of the recurrent weights.
    Predicts:
        PyTorch's own start multiplies a state's gradient by about 0.58 a step; orthogonal weights by 1, times the
        activation's slope.
    References:
        Saxe et al. 2014; Henaff, Szlam, LeCun 2016.
    """
    return on_model(training, _orthogonal_recurrence)


def _orthogonal_recurrence(model: nn.Module) -> None:
    for weight in _recurrent_weights(model):
        for gate in weight.data.split(weight.shape[1]):
            nn.init.orthogonal_(gate)


def _recurrent_weights(model: nn.Module) -> Iterable[Tensor]:
    for module in model.modules():
        if isinstance(module, RECURRENT):
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith("weight_hh") and parameter.shape[0] % parameter.shape[1] == 0:
                    yield parameter


@rnn_orthogonal.proposes
def _proposed_recurrence(diagnosis: Diagnosis) -> Iterator[Proposal]:
    codes = {finding.code for finding in diagnosis.findings}
    if diagnosis.recurrent and (codes & {"UT107", "UT101", "UT704", "UT104"} or unlearned(diagnosis)):
        yield Proposal({}, "the gradient fades through time", 0.7)


@rnn_orthogonal.written
def _recurrence_lines() -> str:
    return (
        "for name, weight in model.named_parameters():\n"
        '    if "weight_hh" in name:\n'
        "        for gate in weight.data.split(weight.shape[1]):\n"
        "            nn.init.orthogonal_(gate)"
    )


@remedy("UR207", "an LSTM that remembers to begin with", "B", ["UT107"])
def forget_bias(training: Training, bias: float = FORGET) -> Training:
    """Set the bias of an LSTM's forget gate, or of a GRU's update gate, so that states are kept.

    What it changes:
        The gate's slice of ``bias_ih``; that of ``bias_hh`` becomes zero, as PyTorch adds both.
    When:
        An LSTM or GRU forgets what is far back.
    Predicts:
        A step keeps sigma(bias) of the state: 0.5 at 0, 0.73 at 1, 0.95 at 3.
    References:
        Gers, Schmidhuber, Cummins 2000; Jozefowicz, Zaremba, Sutskever 2015; Tallec, Ollivier 2018.
    """
    return on_model(training, partial(remember, bias=bias))


def remember(model: nn.Module, bias: float) -> None:
    """Set the bias of the gates that keep a state."""
    for module in model.modules():
        if isinstance(module, nn.LSTM | nn.LSTMCell | nn.GRU | nn.GRUCell):
            gate = slice(module.hidden_size, 2 * module.hidden_size)  # forget in an LSTM, update in a GRU
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith("bias"):
                    parameter.data[gate] = bias if "_ih" in name else 0.0


@forget_bias.proposes
def _proposed_memory(diagnosis: Diagnosis) -> Iterator[Proposal]:
    gated = any(site.module_type in ("LSTM", "LSTMCell", "GRU", "GRUCell") for site in diagnosis.run.sites)
    codes = {finding.code for finding in diagnosis.findings}
    if gated and (codes & {"UT107", "UT704", "UT101"} or unlearned(diagnosis)):
        yield Proposal({"bias": FORGET}, "its gates forget what is far back", 0.75)


@forget_bias.written
def _memory_lines(bias: float = FORGET) -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell)):\n"
        "        for name, parameter in module.named_parameters(recurse=False):\n"
        '            if name.startswith("bias"):\n'
        "                gate = slice(module.hidden_size, 2 * module.hidden_size)\n"
        f'                parameter.data[gate] = {bias:g} if "_ih" in name else 0.0'
    )
