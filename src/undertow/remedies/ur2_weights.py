"""UR2xx, level B: other weights to begin with. The architecture and the names in a checkpoint stay as they are."""

import math
from collections.abc import Iterator
from functools import partial

from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import GAINS
from undertow.remedies.changing import on_model
from undertow.remedies.drawing import (
    OF_SCALE,
    activation_of,
    draw,
    lost_by,
    predicted_by_drawing,
    trained_layers,
    variance_lines,
    without_bias,
)
from undertow.remedies.facts import unlearned
from undertow.remedies.registry import Proposal, remedy
from undertow.training import Training

FEW_DECADES = 0.5


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


@variance.proposes
def _proposed_variance(diagnosis: Diagnosis) -> Iterator[Proposal]:
    found = {finding.code for finding in diagnosis.findings} & {*OF_SCALE, "UT201", "UT202", "UT302", "UT109"}
    activation = activation_of(diagnosis)
    if found and activation in GAINS:
        by_weights, _ = lost_by(diagnosis, "weights")
        known = math.isfinite(by_weights)
        reason = f"the weights change the gradient by {by_weights:+.1f} decades" if known else "no gradient passes"
        urgency = 0.5 if abs(by_weights) <= FEW_DECADES else 0.75  # also where nobody can tell
        yield Proposal({"activation": activation}, reason, urgency, predicted_by_drawing(diagnosis, activation))
    elif activation in GAINS and unlearned(diagnosis):
        yield Proposal({"activation": activation}, "the training doesn't learn; its start may be to blame", 0.35)


variance.written(variance_lines)


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
    for layer in trained_layers(model):
        nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]  # `trained_layers` looked
        without_bias(layer)


@orthogonal.proposes
def _proposed_orthogonal(diagnosis: Diagnosis) -> Iterator[Proposal]:
    if any(finding.code in OF_SCALE for finding in diagnosis.findings) and len(diagnosis.layers) >= 6:
        activation = activation_of(diagnosis)
        reason = f"the network has {len(diagnosis.layers)} layers"
        yield Proposal({"activation": activation}, reason, 0.6, predicted_by_drawing(diagnosis, activation))


@orthogonal.written
def _orthogonal_lines(activation: str = "relu") -> str:
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):\n"
        f"        nn.init.orthogonal_(module.weight, gain={GAINS.get(activation, 2.0):g} ** 0.5)\n"
        "        if module.bias is not None:\n"
        "            nn.init.zeros_(module.bias)"
    )


@remedy(
    "UR205",
    "weights as PyTorch starts them",
    "B",
    ["UT302", "UT301", "UT101", "UT102", "UT109", "UT201", "UT202", "UT204"],
)
def torch_default(training: Training) -> Training:
    """Draw all weights anew as PyTorch's modules do by themselves.

    What it changes:
        Every module that has ``reset_parameters`` draws its parameters again; matrices of parameters that no such
        module holds and whose numbers are all alike are drawn, too.
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
        for parameter in module.parameters(recurse=False):
            if parameter.ndim > 1 and bool((parameter == parameter.flatten()[0]).all()):
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


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
        "for module in model.modules():\n"
        '    if hasattr(module, "reset_parameters"):\n'
        "        module.reset_parameters()\n"
        "    for parameter in module.parameters(recurse=False):\n"
        "        if parameter.ndim > 1 and (parameter == parameter.flatten()[0]).all():\n"
        "            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)"
    )
