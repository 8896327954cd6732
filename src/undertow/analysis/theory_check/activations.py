"""Activations by the names that Sites bear, settings included, as theory takes them."""

import re
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
        >>> float(known("hardtanh(0, 6)").value(7.0))
        6.0
    """
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    if name in _MORE:
        return _MORE[name]
    call = _CALL.match(name)
    if call is None or call[1] not in ("leaky_relu", "hardtanh"):
        return None
    settings = [float(each) for each in call[2].split(",")]
    return _leaky(name, settings[0]) if call[1] == "leaky_relu" else _clipped(name, *settings)


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
