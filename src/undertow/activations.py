"""Every activation once: its value, its derivative, where it bends and saturates, what torch and the page call it.

The functions here are NumPy (and SciPy for ``erf``): theory, rules and pages use them without loading torch. The lab,
its members as modules, the tape and the page's script make theirs from the same entries; the lab and the tape have
faster kernels of their own for the most used ones, which tests hold to these.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

SATURATED_BELOW = 0.1
"""A unit is saturated where its derivative is under this share of the activation's largest."""

LEAKY_SLOPE = 0.01
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


class Mathematics(Protocol):
    """A library of elementwise functions: NumPy with SciPy's special functions, or torch with its own."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function by its name."""


Formula = Callable[[Any, Mathematics], Any]
"""``formula(z, m)``: z an array or a tensor, m the library to compute with, as in ``m.exp(z)``."""


class Libraries:
    """Find functions by name in the first of several libraries that has them; one given by name is loaded on demand.

    Example:
        >>> float(NUMPY.expit(0.0)), float(NUMPY.exp(0.0))
        (0.5, 1.0)
    """

    def __init__(self, *libraries: Any) -> None:
        self._libraries = libraries

    def __getattr__(self, name: str) -> Callable[..., Any]:
        for library in self._libraries:
            found = import_module(library) if isinstance(library, str) else library
            if hasattr(found, name):
                return getattr(found, name)
        raise AttributeError(f"no function {name!r} for an activation in {self._libraries}")


special = Libraries("scipy.special")  # by its name: it takes longer to load than all of undertow's record
NUMPY = Libraries(np, special)


@dataclass(frozen=True)
class InTorch:
    """An activation in torch.

    Attributes:
        name: of the module in ``torch.nn`` or of the function in ``torch``.
        settings: the module's arguments.
        op: what autograd calls the operation; empty for one that is made of several.
        saved: what autograd keeps for the backward pass, ``"self"`` (z) or ``"result"`` (φ(z)); empty if neither.
        bounded: whether it saturates on both sides.
        rising: whether its derivative is nowhere negative.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    op: str = ""
    saved: str = ""
    bounded: bool = False
    rising: bool = False


@dataclass(frozen=True)
class Activation:
    """An activation function φ, with what a diagnosis needs to know of it.

    Attributes:
        name: torch's name for it, in lower case (``"sigmoid"``, ``"leaky_relu"``).
        value: φ(z), elementwise.
        derivative: φ'(z), elementwise; at a kink the value torch's backward pass takes.
        peak: the largest |φ'| anywhere: 1/4 for the sigmoid, 1 for tanh and ReLU.
        kinks: where φ' jumps. Quadrature must split there.
        formulas: φ and φ' for any library, which the lab's kernel and the tape's derivative are made of where they have
            none of their own; see `written`.
        torch: its name and its habits in torch; None where torch has none.
        script: φ and φ' as functions in JavaScript, for the page to play with.

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
    formulas: tuple[Formula, Formula] | None = None
    torch: InTorch | None = None
    script: tuple[str, str] | None = None

    def saturated(self, z: ArrayLike) -> NDArray[np.bool_]:
        """Mark where |φ'(z)| is under a tenth of the largest: beyond ±3.64 for the sigmoid, ±1.82 for tanh."""
        return np.abs(self.derivative(z)) < SATURATED_BELOW * self.peak


def written(name: str, value: Formula, derivative: Formula, **others: Any) -> Activation:
    """Make an activation from formulas that hold for any library.

    Args:
        name: torch's name for it, in lower case.
        value: φ, as ``lambda z, m: z * m.expit(z)``. Names must be known to NumPy or ``scipy.special``, and to
            ``torch`` or ``torch.special``.
        derivative: φ', likewise.
        others: the other attributes of `Activation`.

    Example:
        >>> atan = written("atan", lambda z, m: m.arctan(z), lambda z, m: 1 / (1 + z * z), peak=1.0)
        >>> float(atan.derivative(1.0))
        0.5
    """
    return Activation(
        name,
        lambda z: value(np.asarray(z, dtype=float), NUMPY),
        lambda z: derivative(np.asarray(z, dtype=float), NUMPY),
        formulas=(value, derivative),
        **others,
    )


def script() -> str:
    """Return the table of all activations in JavaScript; the functions it names are in ``explore/activations.js``.

    Example:
        >>> script().splitlines()[1]
        '  sigmoid: { value: logistic, slope: logisticSlope },'
    """
    known = ((name, phi.script) for name, phi in ACTIVATIONS.items() if phi.script is not None)
    lines = (f"  {name}: {{ value: {value}, slope: {slope} }}," for name, (value, slope) in known)
    return "\n".join(("const ACTIVATIONS = {", *lines, "};"))


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
        Activation(
            "sigmoid",
            lambda z: special.expit(z),
            _sigmoid_derivative,
            peak=0.25,
            torch=InTorch("Sigmoid", op="sigmoid", saved="result", bounded=True, rising=True),
            script=("logistic", "logisticSlope"),
        ),
        Activation(
            "tanh",
            np.tanh,
            _tanh_derivative,
            peak=1.0,
            torch=InTorch("Tanh", op="tanh", saved="result", bounded=True, rising=True),
            script=("Math.tanh", "(z) => 4 * logisticSlope(2 * z)"),
        ),
        Activation(
            "relu",
            lambda z: np.maximum(z, 0.0),
            lambda z: np.greater(z, 0).astype(float),
            peak=1.0,
            kinks=(0.0,),
            torch=InTorch("ReLU", op="relu", saved="result", rising=True),
            script=("(z) => Math.max(z, 0)", "(z) => (z > 0 ? 1 : 0)"),
        ),
        Activation(
            "leaky_relu",
            lambda z: np.where(np.greater(z, 0), z, LEAKY_SLOPE * np.asarray(z)),
            lambda z: np.where(np.greater(z, 0), 1.0, LEAKY_SLOPE),
            peak=1.0,
            kinks=(0.0,),
            torch=InTorch("LeakyReLU", op="leaky_relu", saved="self"),
            script=("(z) => (z > 0 ? z : 0.01 * z)", "(z) => (z > 0 ? 1 : 0.01)"),
        ),
        Activation(
            "softsign",
            lambda z: np.asarray(z) / (1 + np.abs(z)),
            lambda z: (1 + np.abs(z)) ** -2.0,
            peak=1.0,
            torch=InTorch("Softsign"),
            script=("(z) => z / (1 + Math.abs(z))", "(z) => (1 + Math.abs(z)) ** -2"),
        ),
        Activation(
            "gelu",
            lambda z: np.asarray(z) * special.ndtr(z),
            lambda z: special.ndtr(z) + np.asarray(z) * _normal_density(z),
            peak=float((1 + math.erf(1)) / 2 + np.sqrt(2) * _normal_density(np.sqrt(2))),
            torch=InTorch("GELU", op="gelu", saved="self"),
            script=("(z) => z * normalBelow(z)", "(z) => normalBelow(z) + z * normalDensity(z)"),
        ),
        Activation(
            "silu",
            lambda z: np.asarray(z) * special.expit(z),
            _silu_derivative,
            peak=1.0998393201288668,
            torch=InTorch("SiLU", op="silu", saved="self"),
            script=("(z) => z * logistic(z)", "(z) => logistic(z) + z * logisticSlope(z)"),
        ),
        Activation(
            "elu",
            _elu,
            _elu_derivative,
            peak=1.0,
            torch=InTorch("ELU", op="elu"),
            script=("(z) => (z > 0 ? z : Math.expm1(z))", "(z) => Math.exp(Math.min(z, 0))"),
        ),
        Activation(
            "selu",
            _selu,
            _selu_derivative,
            peak=SELU_SCALE * SELU_ALPHA,
            kinks=(0.0,),
            torch=InTorch("SELU"),  # autograd calls it elu
            script=(
                "(z) => SELU_SCALE * (z > 0 ? z : SELU_ALPHA * Math.expm1(z))",
                "(z) => SELU_SCALE * (z > 0 ? 1 : SELU_ALPHA * Math.exp(z))",
            ),
        ),
        Activation(
            "softplus",
            lambda z: np.logaddexp(0.0, z),
            lambda z: special.expit(z),
            peak=1.0,
            # torch's own threshold, 20, cuts off a difference that float64 can hold
            torch=InTorch("Softplus", {"threshold": 50}, op="softplus", saved="self", rising=True),
            script=("(z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)))", "logistic"),
        ),
        Activation(
            "erf",
            lambda z: special.erf(z),
            lambda z: 2 / np.sqrt(np.pi) * np.exp(-np.square(z)),
            peak=float(2 / np.sqrt(np.pi)),
            torch=InTorch("erf", op="erf", saved="self", bounded=True, rising=True),
            script=("erf", "(z) => (2 / Math.sqrt(Math.PI)) * Math.exp(-z * z)"),
        ),
        Activation(
            "linear",
            lambda z: np.asarray(z, dtype=float),
            lambda z: np.ones_like(z, dtype=float),
            peak=1.0,
            torch=InTorch("Identity"),
            script=("(z) => z", "() => 1"),
        ),
    )
}


def in_torch() -> dict[str, Activation]:
    """Return the activations that are one operation of torch's, by its name for that operation.

    Example:
        >>> in_torch()["erf"].name, "softsign" in in_torch()
        ('erf', False)
    """
    return {phi.torch.op: phi for phi in ACTIVATIONS.values() if phi.torch is not None and phi.torch.op}
