"""Activations by the names that Sites bear, settings included, as theory takes them."""

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from undertow.activations import ACTIVATIONS, Activation

SCALE_FREE = re.compile(r"relu$|leaky_relu|linear$")
"""Their derivative doesn't change when z is multiplied by something positive: no need to know its variance."""

_CALL = re.compile(r"(\w+)\(([-\d.e, inf]+)\)$")


@lru_cache(maxsize=64)
def known(name: str) -> Activation | None:
    """The activation, or None if theory has no formula for it.

    Example:
        >>> known("leaky_relu(0.2)").kinks, known("glu") is None
        ((0.0,), True)
        >>> float(known("hardtanh(0, 6)").value(7.0)), float(known("softshrink(0.25)").value(1.0))
        (6.0, 0.75)
    """
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    if name in _MORE:
        return _MORE[name]
    call = _CALL.match(name)
    kind = _WITH_SETTINGS.get(call[1] if call else name)
    if kind is None:
        return None
    make, usual = kind
    return make(name, *(map(float, call[2].split(",")) if call else usual))


def _leaky(name: str, slope: float) -> Activation:
    return Activation(
        name,
        lambda z: np.where(np.greater(z, 0), z, slope * np.asarray(z)),
        lambda z: np.where(np.greater(z, 0), 1.0, slope),
        peak=max(1.0, abs(slope)),
        kinks=(0.0,),
    )


def _clipped(name: str, low: float, high: float) -> Activation:
    return Activation(
        name,
        lambda z: np.clip(z, low, high),
        lambda z: (np.greater(z, low) & np.less(z, high)).astype(float),
        peak=1.0,
        kinks=(low, high),
    )


def _elu(name: str, alpha: float) -> Activation:
    return Activation(
        name,
        lambda z: np.where(np.greater(z, 0), z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z: np.where(np.greater(z, 0), 1.0, alpha * np.exp(np.minimum(z, 0))),
        peak=max(1.0, abs(alpha)),
        kinks=(0.0,),
    )


def _celu(name: str, alpha: float) -> Activation:
    return Activation(
        name,
        lambda z: np.where(np.greater(z, 0), z, alpha * np.expm1(np.minimum(z, 0) / alpha)),
        lambda z: np.exp(np.minimum(z, 0) / alpha),
        peak=1.0,
    )


def _soft_shrink(name: str, threshold: float) -> Activation:
    return Activation(
        name,
        lambda z: np.sign(z) * np.maximum(np.abs(z) - threshold, 0.0),
        lambda z: np.greater(np.abs(z), threshold).astype(float),
        peak=1.0,
        kinks=(-threshold, threshold),
    )


def _hard_shrink(name: str, threshold: float) -> Activation:
    return Activation(
        name,
        lambda z: np.where(np.greater(np.abs(z), threshold), z, 0.0),
        lambda z: np.greater(np.abs(z), threshold).astype(float),
        peak=1.0,
        kinks=(-threshold, threshold),
    )


_WITH_SETTINGS: dict[str, tuple[Callable[..., Activation], tuple[float, ...]]] = {
    "leaky_relu": (_leaky, (0.01,)),
    "hardtanh": (_clipped, (-1.0, 1.0)),
    "elu": (_elu, (1.0,)),
    "celu": (_celu, (1.0,)),
    "softshrink": (_soft_shrink, (0.5,)),
    "hardshrink": (_hard_shrink, (0.5,)),
}
"""How to make an activation of its settings, and the usual ones."""


def _mish_slope(z: np.typing.ArrayLike) -> np.typing.NDArray[np.floating]:
    level = np.tanh(np.logaddexp(0.0, z))
    return np.asarray(level + np.asarray(z) * (1 - level**2) * ACTIVATIONS["sigmoid"].value(z))


_MORE = {
    each.name: each
    for each in (
        Activation("sin", np.sin, np.cos, peak=1.0),
        Activation("mish", lambda z: np.asarray(z) * np.tanh(np.logaddexp(0.0, z)), _mish_slope, peak=1.0885),
        Activation(
            "hardswish",
            lambda z: np.asarray(z) * np.clip(np.asarray(z) + 3, 0, 6) / 6,
            lambda z: np.where(np.abs(z) < 3, (2 * np.asarray(z) + 3) / 6, np.greater(z, 0).astype(float)),
            peak=1.5,
            kinks=(-3.0, 3.0),
        ),
        Activation(
            "hardsigmoid",
            lambda z: np.clip(np.asarray(z) + 3, 0, 6) / 6,
            lambda z: np.where(np.abs(z) < 3, 1 / 6, 0.0),
            peak=1 / 6,
            kinks=(-3.0, 3.0),
        ),
    )
}
