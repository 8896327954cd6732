"""Every activation once: its value, its derivative, where it bends and where it saturates.

The functions here are NumPy (and SciPy for ``erf``): theory, rules and pages use them without loading torch.
The lab's torch kernels (``undertow.lab.kernels``) are held to these by a test.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.floating]

SATURATED_BELOW = 0.1
"""A unit is saturated where its derivative is under this share of the activation's largest."""

LEAKY_SLOPE = 0.01
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class Activation:
    """An activation function φ, with what a diagnosis needs to know of it.

    Attributes:
        name: torch's name for it, in lower case (``"sigmoid"``, ``"leaky_relu"``).
        value: φ(z), elementwise.
        derivative: φ'(z), elementwise; at a kink the value torch's backward pass takes.
        peak: the largest |φ'| anywhere: 1/4 for the sigmoid, 1 for tanh and ReLU.
        kinks: where φ' jumps. Quadrature must split there.

    Example:
        >>> sigmoid = ACTIVATIONS["sigmoid"]
        >>> float(sigmoid.derivative(0.0)), sigmoid.peak
        (0.25, 0.25)
        >>> [bool(s) for s in sigmoid.saturated([0.0, 3.6, 3.7])]
        [False, False, True]
    """

    name: str
    value: Callable[[ArrayLike], Array]
    derivative: Callable[[ArrayLike], Array]
    peak: float
    kinks: tuple[float, ...] = ()

    def saturated(self, z: ArrayLike) -> NDArray[np.bool_]:
        """Where |φ'(z)| is under a tenth of the largest: beyond ±3.64 for the sigmoid, ±1.82 for tanh."""
        return np.abs(self.derivative(z)) < SATURATED_BELOW * self.peak


def activation(name: str) -> Activation:
    """Look an activation up by name.

    Raises:
        ValueError: no such activation; the message lists those there are.

    Example:
        >>> activation("relu").kinks
        (0.0,)
    """
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise ValueError(f"no activation named {name!r}; there are: {', '.join(ACTIVATIONS)}") from None


def _sigmoid_derivative(z: ArrayLike) -> Array:
    s = special.expit(z)
    return s * special.expit(np.negative(z))


def _tanh_derivative(z: ArrayLike) -> Array:
    return 4 * _sigmoid_derivative(2 * np.asarray(z))  # 1 - tanh² has no digit left where tanh is nearly 1


def _normal_density(z: ArrayLike) -> Array:
    return np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)


def _silu_derivative(z: ArrayLike) -> Array:
    return special.expit(z) + np.asarray(z) * _sigmoid_derivative(z)


def _elu(z: ArrayLike) -> Array:
    return np.where(np.greater(z, 0), z, np.expm1(np.minimum(z, 0)))


def _elu_derivative(z: ArrayLike) -> Array:
    return np.exp(np.minimum(z, 0))


def _selu(z: ArrayLike) -> Array:
    return SELU_SCALE * np.where(np.greater(z, 0), z, SELU_ALPHA * np.expm1(np.minimum(z, 0)))


def _selu_derivative(z: ArrayLike) -> Array:
    return SELU_SCALE * np.where(np.greater(z, 0), 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0)))


ACTIVATIONS: dict[str, Activation] = {
    each.name: each
    for each in (
        Activation("sigmoid", special.expit, _sigmoid_derivative, peak=0.25),
        Activation("tanh", np.tanh, _tanh_derivative, peak=1.0),
        Activation(
            "relu",
            lambda z: np.maximum(z, 0.0),
            lambda z: np.greater(z, 0).astype(float),
            peak=1.0,
            kinks=(0.0,),
        ),
        Activation(
            "leaky_relu",
            lambda z: np.where(np.greater(z, 0), z, LEAKY_SLOPE * np.asarray(z)),
            lambda z: np.where(np.greater(z, 0), 1.0, LEAKY_SLOPE),
            peak=1.0,
            kinks=(0.0,),
        ),
        Activation(
            "softsign",
            lambda z: np.asarray(z) / (1 + np.abs(z)),
            lambda z: (1 + np.abs(z)) ** -2.0,
            peak=1.0,
        ),
        Activation(
            "gelu",
            lambda z: np.asarray(z) * special.ndtr(z),
            lambda z: special.ndtr(z) + np.asarray(z) * _normal_density(z),
            peak=float(special.ndtr(np.sqrt(2)) + np.sqrt(2) * _normal_density(np.sqrt(2))),
        ),
        Activation("silu", lambda z: np.asarray(z) * special.expit(z), _silu_derivative, peak=1.0998393201288668),
        Activation("elu", _elu, _elu_derivative, peak=1.0),
        Activation("selu", _selu, _selu_derivative, peak=SELU_SCALE * SELU_ALPHA, kinks=(0.0,)),
        Activation("softplus", lambda z: np.logaddexp(0.0, z), special.expit, peak=1.0),
        Activation(
            "erf",
            special.erf,
            lambda z: 2 / np.sqrt(np.pi) * np.exp(-np.square(z)),
            peak=float(2 / np.sqrt(np.pi)),
        ),
        Activation("linear", lambda z: np.asarray(z, dtype=float), lambda z: np.ones_like(z, dtype=float), peak=1.0),
    )
}
