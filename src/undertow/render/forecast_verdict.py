"""Say what a forecast comes to: does the gradient reach the first layer, and which start would carry it there."""

import math
from dataclasses import dataclass

import numpy as np

from undertow.formatting import number, power
from undertow.render.blocks import Tone
from undertow.theory.forecasting import Forecast
from undertow.theory.functions import as_activation
from undertow.theory.meanfield import critical_line, half_stable

VANISHING, EXPLODING = (-0.08, -1.3), (0.095, 2.5)
"""Decades from one layer to the next, and from the last to the first, from which on UT101 and UT102 speak."""

VARIANCES = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Variances of pre-activations at which a critical start is looked for, the smallest first."""

LARGEST_VARIANCE = 100.0


@dataclass(frozen=True)
class ForecastOutcome:
    """Hold what a forecast comes to.

    Attributes:
        words: the verdict in a few words.
        tone: how bad that is; None where nothing is wrong.
        sentence: its size.
        advice: what to do about it; empty where nothing is to be done.
        snippet: the same in PyTorch, for any ``model``.
    """

    words: str
    tone: Tone | None
    sentence: str
    advice: str = ""
    snippet: str = ""


def outcome(forecast: Forecast) -> ForecastOutcome:
    """Judge a forecast by the thresholds that rules judge a measured gradient by.

    Example:
        >>> outcome(Forecast.of("sigmoid", 1.0, depth=10)).words
        'the gradient vanishes'
        >>> outcome(Forecast.of("relu", 2.0, depth=10)).sentence
        'From layer 10 back to layer 1 the gradient keeps its size.'
    """
    total = float(forecast.layers.decades[0])
    rate = total / max(forecast.depth - 1, 1)
    if rate <= VANISHING[0] and total <= VANISHING[1]:
        return ForecastOutcome("the gradient vanishes", "error", _sentence(forecast, total), *_remedy(forecast))
    if rate >= EXPLODING[0] and total >= EXPLODING[1]:
        return ForecastOutcome("the gradient explodes", "error", _sentence(forecast, total), *_remedy(forecast))
    if forecast.trainable_depth is not None and forecast.depth > forecast.trainable_depth:
        limit = f" Schoenholz et al. saw such networks train up to {forecast.trainable_depth:.3g} layers."
        return ForecastOutcome("too deep to train", "warning", _sentence(forecast, total) + limit, *_remedy(forecast))
    return ForecastOutcome("the gradient arrives", None, _sentence(forecast, total))


def critical_start(activation: str) -> tuple[float, float] | None:
    """Return the variances n_in Var W and Var b that keep the gradient's size, the smallest biases first.

    Example:
        >>> critical_start("relu"), critical_start("tanh"), critical_start("sigmoid")
        ((2.0, 0.0), (1.0, 0.0), None)
    """
    phi = as_activation(activation)
    weight_var, bias_var = critical_line(phi, np.array(VARIANCES))
    least = half_stable(phi) or 0.0
    for q, weights, biases in zip(VARIANCES, weight_var.tolist(), bias_var.tolist(), strict=True):
        if q >= least and 0 < weights <= LARGEST_VARIANCE and math.isfinite(biases):
            return round(weights, 3), round(biases, 3)
    return None


def _sentence(forecast: Forecast, total: float) -> str:
    way = f"From layer {forecast.depth} back to layer 1 the gradient"
    if forecast.depth == 1 or abs(total) < 0.05:
        return f"{way} keeps its size."
    change = "shrinks" if total < 0 else "grows"
    factor = number(10 ** (total / (forecast.depth - 1)))
    return f"{way} {change} {power(abs(total))} times: each layer passes on {factor} of what it receives."


def _remedy(forecast: Forecast) -> tuple[str, str]:
    start = critical_start(forecast.activation)
    if start is None:
        return (
            f"No start within reason keeps the gradient of {forecast.activation}: take ReLU, GELU or tanh, or put "
            "residual connections or normalisation in.",
            "",
        )
    weights, biases = start
    advice = (
        f"Draw the weights with variance {weights:g}/n, n the inputs of a layer, and the biases with variance "
        f"{biases:g}: so each layer of {forecast.activation} passes on as much as it receives."
    )
    return advice, _lines(weights, biases)


def _lines(weight_var: float, bias_var: float) -> str:
    bias = f"nn.init.normal_(layer.bias, std={math.sqrt(bias_var):.3g})" if bias_var else "nn.init.zeros_(layer.bias)"
    return "\n".join(
        (
            "from torch import nn",
            "",
            "for layer in model.modules():",
            "    if isinstance(layer, nn.Linear):",
            f"        nn.init.normal_(layer.weight, std=({weight_var:g} / layer.in_features) ** 0.5)",
            f"        {bias}",
        )
    )
