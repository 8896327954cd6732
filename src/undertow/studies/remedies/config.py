"""The factors that are crossed, and how much of it is done."""

from dataclasses import dataclass

import numpy as np

from undertow.lab import Initializer
from undertow.theory import meanfield

DEPTHS = (1, 2, 5, 10, 20, 50, 100)
ACTIVATIONS = ("sigmoid", "tanh", "relu", "gelu")

STARTS = ("book", "Glorot", "He", "orthogonal", "critical")
ARCHITECTURES = ("plain", "BatchNorm", "LayerNorm", "residual", "residual + norm")
RATES: dict[str, tuple[float, ...]] = {
    "SGD": (0.3, 0.1, 0.01),
    "momentum": (0.1, 0.01, 0.001),
    "Adam": (0.01, 0.001, 0.0001),
}
"""Optimizers, and the learning rates tried with each; a network counts by its best."""

TRAINS = 0.5
"""A network trains if it gets this share of validation images right after its few updates; a guess gets a tenth."""

CRITICAL_Q = {"tanh": 0.5, "gelu": 3.5616}
"""At which variance of z the critical start holds a network; ReLU's holds it at any, the sigmoid has no such point."""

SIGMOID_CRITICAL = (10.15**2, 0.0)
"""Variances that the sigmoid would need: with biases at 0 it takes such weights to keep the gradient's length."""


@dataclass(frozen=True)
class RemediesConfig:
    """Set how much of it is done here.

    Attributes:
        depths: hidden layers.
        optimizers: names from `RATES`.
        width: of these.
        batch: images in a mini-batch.
        updates: of each network.
        judged: validation images that accuracy is measured on, and training images that gradients are.
        profile_depth: of the networks whose gradients are shown layer by layer.
    """

    depths: tuple[int, ...] = DEPTHS
    optimizers: tuple[str, ...] = tuple(RATES)
    width: int = 32
    batch: int = 50
    updates: int = 120
    judged: int = 1_000
    profile_depth: int = 50

    @property
    def networks(self) -> int:
        """The number of networks trained, all learning rates counted."""
        rates = sum(len(RATES[name]) for name in self.optimizers)
        return len(self.depths) * len(ACTIVATIONS) * len(STARTS) * len(ARCHITECTURES) * rates


def config(quick: bool) -> RemediesConfig:
    """Return the whole amount, or a small part of it.

    Example:
        >>> config(quick=False).networks
        6300
    """
    if not quick:
        return RemediesConfig()
    return RemediesConfig((1, 20), ("momentum", "Adam"), width=16, updates=40, judged=500, profile_depth=20)


def variances(start: str, activation: str) -> tuple[float, float]:
    """Return n Var W and Var b between equally wide layers.

    Example:
        >>> variances("He", "relu"), variances("book", "tanh")
        ((2.0, 0.0), (1.0, 1.0))
        >>> [round(v, 3) for v in variances("critical", "tanh")]
        [1.688, 0.038]
    """
    if start != "critical":
        return {"book": (1.0, 1.0), "Glorot": (1.0, 0.0), "He": (2.0, 0.0), "orthogonal": (1.0, 0.0)}[start]
    if activation == "sigmoid":
        return SIGMOID_CRITICAL
    if activation == "relu":
        return 2.0, 0.0
    weight_var, bias_var = meanfield.critical_line(activation, CRITICAL_Q[activation])
    return float(weight_var), float(bias_var)


def initializer(start: str, activation: str) -> Initializer:
    """Return how weights and biases of the hidden layers start.

    Example:
        >>> initializer("critical", "relu").scale == 2**0.5
        True
    """
    if start != "critical":
        name = {"book": "default", "Glorot": "glorot_uniform", "He": "he", "orthogonal": "orthogonal"}[start]
        return Initializer(name)
    weight_var, bias_var = np.sqrt(variances(start, activation))
    return Initializer("lecun", scale=float(weight_var), biases="normal", bias_scale=float(bias_var))
