"""The networks that are trained, and each one's mended twin; as a specification of a sweep."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow.sweeping import Spec

Settings = Mapping[str, Any]

INIT_SUFFICES = 10
"""Layers up to which a plain network is mended by the critical start alone; beyond, a norm and residuals join it."""

RATES = {"sgd": (0.02, 0.1), "adam": (2e-3, 1e-2)}
"""Learning rates that every network is trained with, each from the same start; SGD has momentum 0.9 beside it."""

BUDGET = {"mlp": 250, "around": 250, "cnn": 200, "transformer": 200, "rnn": 300, "lstm": 300, "gru": 300}
"""Steps that a network is given, by kind."""

EDGES: dict[str, tuple[float, ...]] = {
    "UT101": (-100, -6, -4, -3, -2, -1.6, -1.3, -1, -0.5, 0),
    "UT102": (0, 0.5, 1, 1.5, 2, 2.5, 100),
    "UT104": (0, 1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.03, 0.1, 0.3, 1.001),
    "UT105": (0, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.001),
    "UT106": (-100, -6, -4, -3, -2, -1.3, -0.5, 0),
    "UT107": (0, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 1e7),
    "UT201": (0, 0.05, 0.2, 0.4, 0.6, 0.75, 0.85, 0.95, 1.001),
    "UT202": (0, 0.05, 0.2, 0.4, 0.5, 0.65, 0.8, 0.999, 1.001),
    "UT301": (-100, -6, -4, -3, -2, -1.6, -1.3, -1, -0.5, 0, 0.5, 1, 1.5, 2, 100),
}
"""Bounds of the table's rows, by code."""

SEQUENCES = (8, 16, 32)
TOKENS = 16


@dataclass(frozen=True)
class SeverityConfig:
    """Set how much of the study to do.

    Attributes:
        grids: settings of the networks, each a mapping from a setting to its values.
        seed: what is added to every network's seed.
    """

    grids: Sequence[Mapping[str, Sequence[Any]]]
    seed: int = 0

    def networks(self) -> Iterator[Settings]:
        """Settings of every network that is judged, without learning rates."""
        for settings in itertools.chain.from_iterable(map(_product, self.grids)):
            yield {**_REST, **settings, "seed": settings["seed"] + self.seed}

    def training(self) -> Spec:
        """All networks and their twins, at every learning rate, as a sweep; each once."""
        wanted = [settings for network in self.networks() for settings in (network, twin(network))]
        return _spec("trained", "training.py", [
            {**_alone(settings), "rate": list(RATES[settings["optimizer"]])} for settings in wanted
        ])  # fmt: skip

    def examining(self) -> Spec:
        """All networks, to be examined before their first step."""
        return _spec("amounts", "examining.py", [_alone(settings) for settings in self.networks()])


def config(quick: bool) -> SeverityConfig:
    """Return all networks, or a few of them.

    Example:
        >>> len(list(config(quick=True).networks())) < 50 < 1000 < len(list(config(quick=False).networks()))
        True
    """
    return SeverityConfig(_QUICK if quick else _WHOLE)


def _spec(function: str, file: str, grids: list[Mapping[str, list[Any]]]) -> Spec:
    target = f"{Path(__file__).with_name(file)}:{function}"
    return Spec.of({"name": f"Severity, {function}", "function": target, "grid": grids})


def _alone(settings: Settings) -> dict[str, list[Any]]:
    return {name: [value] for name, value in settings.items()}


def twin(network: Settings) -> Settings:
    """Return the network without its fault of scale; a sound one is its own twin.

    Plain networks get the critical start; sigmoids, deep ones and those with a half of the cure residual connections
    over a norm; chains of attention too; recurrent ones an LSTM whose forget gate is open.

    Example:
        >>> deep = {"kind": "mlp", "depth": 20, "activation": "relu", "start": "0.5", "norm": "none", "residual": False}
        >>> twin(deep)["start"], twin(deep)["norm"], twin(deep)["residual"]
        ('1', 'layer', True)
    """
    kind = network["kind"]
    if kind in ("rnn", "lstm", "gru"):
        return {**network, "kind": "lstm", "start": "open"}
    if kind == "transformer":
        return {**network, "start": "default", "norm": "pre", "residual": True}
    if network["depth"] <= INIT_SUFFICES and network["activation"] != "sigmoid" and not network["residual"]:
        return {**network, "start": "1"}
    norm = network["norm"] if network["norm"] != "none" else "batch" if kind == "cnn" else "layer"
    return {**network, "start": "1", "norm": norm, "residual": True}


def _product(grid: Mapping[str, Any]) -> Iterator[Settings]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


_REST = {"steps": 0, "norm": "none", "residual": False, "activation": "relu", "depth": 1}
_BOTH = ["sgd", "adam"]
_MLP = {"data": ["vectors"], "kind": ["mlp"], "optimizer": _BOTH}
_CNN = {"data": ["images"], "kind": ["cnn"], "optimizer": _BOTH, "seed": [0]}
_SEQUENCES = {"data": ["recall", "mean"], "steps": SEQUENCES, "optimizer": _BOTH, "seed": [0]}
_TRANSFORMER = {"data": ["tokens"], "steps": [TOKENS], "kind": ["transformer"], "activation": ["gelu"]}
_NORMED = [{"norm": [norm], "residual": [residual]} for norm, residual in
           [("layer", False), ("batch", False), ("none", True), ("layer", True), ("batch", True)]]  # fmt: skip

_WHOLE: list[Mapping[str, Any]] = [
    *({**_MLP, "depth": depths, "activation": ["relu", "tanh", "sigmoid", "gelu"],
       "start": ["default", "0.5", "1", "1.5", "2"], "seed": seeds}
      for depths, seeds in (([3, 4, 5, 6, 8, 10], [0, 1]), ([14, 20], [0]))),
    *({**_MLP, "depth": [6, 20], "activation": ["relu", "tanh", "sigmoid"], "start": ["default", "0.5", "2"],
       "seed": [0], **normed} for normed in _NORMED),
    {**_MLP, "depth": [3, 6], "activation": ["tanh", "sigmoid"], "start": ["5", "20"], "seed": [0, 1]},
    {**_MLP, "depth": [3, 6], "activation": ["relu", "gelu"], "start": ["off1", "off2", "off3"], "seed": [0, 1]},
    {**_MLP, "kind": ["around"], "depth": [4, 8, 12], "activation": ["relu", "tanh", "sigmoid"],
     "start": ["default", "0.5"], "seed": [0]},
    {**_CNN, "depth": [3, 4, 5, 6, 8, 12], "activation": ["relu", "tanh"], "start": ["default", "0.5", "2"],
     "norm": ["none", "batch"]},
    {**_CNN, "depth": [6, 12], "start": ["default", "0.5", "2"], "norm": ["none", "batch"], "residual": [True]},
    {**_TRANSFORMER, "depth": [1, 2, 4], "norm": ["pre", "post", "none"], "residual": [True, False],
     "start": ["default", "2"], "optimizer": _BOTH, "seed": [0]},
    {**_SEQUENCES, "kind": ["rnn"], "start": ["default", "0.5", "1", "1.5"]},
    {**_SEQUENCES, "kind": ["lstm"], "start": ["default", "open", "shut"]},
    {**_SEQUENCES, "kind": ["gru"], "start": ["default", "open"]},
]  # fmt: skip
_QUICK: list[Mapping[str, Any]] = [
    {**_MLP, "depth": [3, 6, 20], "activation": ["relu", "sigmoid"], "start": ["default", "2"], "seed": [0]},
    {**_SEQUENCES, "steps": [16], "kind": ["rnn"], "start": ["default"]},
]
