"""The settings of a cell that trains the lab's networks: what there is, and which combinations can't be."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from undertow.activations import activation
from undertow.lab.costs import cost
from undertow.lab.initializers import initializer
from undertow.lab.optimizers import OPTIMIZERS, SGD, Momentum, Nesterov, Optimizer, optimizer
from undertow.sweeping.naming import meant
from undertow.sweeping.spec import Settings

UNIT_VARIANCE = ("default", "lecun", "orthogonal")
"""Initializers with n_in Var W = 1 (the orthogonal one between layers of one width), which ``weight_var`` scales."""

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Setting:
    """One setting of the lab's cells.

    Attributes:
        kind: int, float, str, bool, or list (of whole numbers).
        default: what it is where it isn't set; None where it then doesn't apply.
        fits: whether a value of that kind makes sense.
        meaning: what it is, and what makes sense.
    """

    kind: type
    default: Any
    fits: Callable[[Any], bool]
    meaning: str


def _named(look_up: Callable[[str], object]) -> Callable[[Any], bool]:
    def fits(name: Any) -> bool:
        look_up(name)  # its error lists the names
        return True

    return fits


SETTINGS: dict[str, Setting] = {
    "data": Setting(str, "mnist", lambda _: True, "mnist, digits, or the path of IDX files"),
    "images": Setting(int, None, lambda v: v >= 1, "training images, the first of the set; all by default"),
    "evaluated": Setting(int, None, lambda v: v >= 1, "validation images to measure accuracy on; all by default"),
    "depth": Setting(int, 1, lambda v: v >= 0, "hidden layers, from 0"),
    "width": Setting(int, 30, lambda v: v >= 1, "neurons in each hidden layer, from 1"),
    "hidden": Setting(list, None, lambda v: all(n >= 1 for n in v), "hidden layers one by one, as in [100, 30]"),
    "activation": Setting(str, "sigmoid", _named(activation), "of the hidden layers"),
    "cost": Setting(str, "cross-entropy", _named(cost), "the cost"),
    "initializer": Setting(str, "default", _named(initializer), "of the weights"),
    "weight_var": Setting(float, None, lambda v: v >= 0, "n_in Var W, from 0"),
    "bias_var": Setting(float, None, lambda v: v >= 0, "Var b, from 0"),
    "optimizer": Setting(str, "sgd", _named(optimizer), "sgd, momentum or nesterov"),
    "mu": Setting(float, None, lambda v: 0 <= v < 1, "the momentum coefficient, from 0 to under 1"),
    "eta": Setting(float, 0.1, lambda _: True, "the learning rate"),
    "lmbda": Setting(float, 0.0, lambda v: v >= 0, "L2 regularisation, from 0"),
    "clip": Setting(float, None, lambda v: v > 0, "the largest norm of a gradient, above 0"),
    "batch_size": Setting(int, 10, lambda v: v >= 1, "examples in a mini-batch, from 1"),
    "epochs": Setting(int, 1, lambda v: v >= 0, "passes over the training images, from 0"),
    "seed": Setting(int, 0, lambda v: v >= 0, "number of the network, from 0"),
    "order": Setting(int, 0, lambda v: v >= 0, "seed of the networks and of the order of mini-batches, from 0"),
    "dtype": Setting(str, "float32", lambda v: v in DTYPES, "float32 or float64"),
    "curve": Setting(bool, False, lambda _: True, "whether to keep the accuracy after every epoch"),
}

SIDE_BY_SIDE = frozenset({"seed", "weight_var", "bias_var"})
"""Cells that differ in nothing else are members of one ensemble."""


def complete(settings: Mapping[str, Any]) -> Settings:
    """Return all settings of a cell, those that aren't given at their defaults, numbers of their kind.

    Example:
        >>> complete({"eta": 1})["eta"], complete({})["depth"]
        (1.0, 1)
    """
    whole = {name: setting.default for name, setting in SETTINGS.items()}
    for name, value in settings.items():
        whole[name] = float(value) if SETTINGS[name].kind is float else value
    return whole


def problems(settings: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with a cell's settings by themselves, without a look at the data.

    Example:
        >>> problems({"depht": 3, "activation": "tanh", "eta": -0.1})
        ["there is no setting 'depht': did you mean 'depth'?"]
        >>> problems({"initializer": "he", "weight_var": 2.0})[0][:47]
        'weight_var = 2.0 with the initializer he: only '
    """
    unknown = [f"there is no setting {n!r}: {meant(n, list(SETTINGS))}" for n in settings if n not in SETTINGS]
    wrong = [problem for name, value in settings.items() if name in SETTINGS for problem in _wrong(name, value)]
    return unknown + wrong or list(_together(settings, complete(settings)))


def _wrong(name: str, value: Any) -> Iterator[str]:
    setting = SETTINGS[name]
    if not _is(setting.kind, value):
        yield f"{name} = {value!r} is no {_KINDS[setting.kind]}: {setting.meaning}"
        return
    try:
        if not setting.fits(value):
            yield f"{name} = {value!r}: {setting.meaning}"
    except ValueError as error:
        yield str(error)


_KINDS = {int: "whole number", float: "finite number", str: "text", bool: "true or false", list: "list of numbers"}


def _is(kind: type, value: Any) -> bool:
    if kind is list:
        return isinstance(value, list) and all(_is(int, each) for each in value)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)


def _together(given: Mapping[str, Any], cell: Settings) -> Iterator[str]:
    if "hidden" in given and ("depth" in given or "width" in given):
        yield "hidden beside depth or width: it says both, leave them away"
    if cell["weight_var"] is not None and cell["initializer"] not in UNIT_VARIANCE:
        yield (
            f"weight_var = {cell['weight_var']} with the initializer {cell['initializer']}: only "
            f"{', '.join(UNIT_VARIANCE)} have n_in Var W = 1, which it multiplies"
        )
    if cell["mu"] is not None and OPTIMIZERS[cell["optimizer"]] is SGD:
        yield f"mu = {cell['mu']} with the optimizer sgd, which has no momentum"
    if cell["images"] and cell["eta"] * cell["lmbda"] / cell["images"] >= 1:
        yield f"eta * lmbda / images = {cell['eta'] * cell['lmbda'] / cell['images']:.3g}: it must be under 1"


def optimizer_of(cell: Settings) -> Optimizer:
    """Return the optimizer of a complete cell.

    Example:
        >>> optimizer_of(complete({"optimizer": "momentum", "mu": 0.5}))
        Momentum(mu=0.5)
    """
    if cell["mu"] is None:
        return optimizer(cell["optimizer"])
    return Nesterov(cell["mu"], schedule=False) if cell["optimizer"] == "nesterov" else Momentum(cell["mu"])


def sizes_of(cell: Settings, n_inputs: int, n_classes: int) -> list[int]:
    """Neurons of every layer of a complete cell.

    Example:
        >>> sizes_of(complete({"depth": 2}), 784, 10)
        [784, 30, 30, 10]
    """
    hidden = cell["hidden"] if cell["hidden"] is not None else [cell["width"]] * cell["depth"]
    return [n_inputs, *hidden, n_classes]
