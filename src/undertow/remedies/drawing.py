"""Weights drawn anew, as remedies of several kinds do it, and the lines that do the same."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import GAINS
from undertow.record import main_activation
from undertow.remedies.anatomy import LAYERS, weight_of

OF_SCALE = ("UT101", "UT102", "UT301", "UT106", "UT104")
"""Findings that the scale of signal or gradient is lost."""


def draw(model: nn.Module, needed: float) -> None:
    """Draw the weights of all layers with n_in Var W as needed, and set biases to zero."""
    with torch.no_grad():
        for layer in trained_layers(model):
            weight = weight_of(layer)
            fan_in = weight[:, 0].numel() if _transposed(layer) else weight[0].numel()
            weight.normal_(0.0, math.sqrt(needed / fan_in))
            without_bias(layer)


def trained_layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield linear layers and convolutions that are trained, those whose weight isn't computed from others."""
    for module in model.modules():
        if isinstance(module, LAYERS) and isinstance(module.weight, nn.Parameter) and module.weight.requires_grad:
            yield module


def _transposed(layer: nn.Module) -> bool:
    return bool(getattr(layer, "transposed", False))


def without_bias(layer: nn.Module) -> None:
    """Set a layer's bias to zero, if it has one."""
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # a parameter, as it isn't None


def activation_of(diagnosis: Diagnosis) -> str:
    """Return the activation that the model has most of; "relu" where it has none that is known."""
    return main_activation(diagnosis.run.sites) or "relu"


SLOPES = {"relu": -0.15, "leaky_relu": -0.15, "tanh": -0.12, "sigmoid": -0.62, "gelu": -0.17, "silu": -0.2, "elu": -0.1}
"""Decades by which an activation changes the gradient where its inputs have variance 1: the root of E phi'^2."""


def lost_by(diagnosis: Diagnosis, *causes: str) -> tuple[float, int]:
    """Return by how many decades some causes change the gradient on its way, and how many layers are on it.

    Args:
        diagnosis: whose gains are known.
        causes: of them, as `undertow.analysis.attribution.CAUSES` has them.

    Returns:
        Decades, nan where a factor is zero or no number, so that nobody can tell; layers.
    """
    found = [gain.factors for gain in diagnosis.gains]
    factors = [each[cause] for each in found for cause in causes if cause in each]
    known = all(factor > 0 and math.isfinite(factor) for factor in factors)
    decades = sum(math.log10(factor) for factor in factors) if known else math.nan
    return decades, sum("weights" in each for each in found)


def predicted_by_drawing(diagnosis: Diagnosis, activation: str) -> float:
    """Return the decades by which new weights, made for an activation, change the gradient; nan if nobody can tell.

    A matrix with n_in Var W = g multiplies the length of a gradient by the root of g, an activation by its slope.
    """
    lost, layers = lost_by(diagnosis, "weights", "activation")
    return layers * (math.log10(GAINS.get(activation, 2.0)) / 2 + SLOPES.get(activation, -0.15)) - lost


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
