"""Which networks are trained, and what each one's mended twin is; as a specification of a sweep."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from undertow.studies.severity import training
from undertow.sweeping import Spec

Settings = Mapping[str, Any]

INIT_SUFFICES = 10
"""Layers up to which a plain network is mended by the critical start alone; beyond, a norm and residuals join it."""

SEQUENCES = (8, 16, 32)
TOKENS = 16


@dataclass(frozen=True)
class Config:
    """How much of the study to do.

    Attributes:
        quick: some of the networks, in under a minute.
        seed: what is added to every network's seed.

    Example:
        >>> len(list(Config(quick=True).networks())) < 100 < 1000 < len(list(Config().networks()))
        True
    """

    quick: bool = False
    seed: int = 0

    def networks(self) -> Iterator[Settings]:
        """Settings of every network that is judged, without learning rates."""
        grids = _QUICK if self.quick else _WHOLE
        for settings in itertools.chain.from_iterable(map(_product, grids)):
            yield {**_REST, **settings, "seed": settings["seed"] + self.seed}

    def spec(self) -> Spec:
        """All networks and their twins, at every learning rate, as a sweep; each once."""
        wanted = [settings for network in self.networks() for settings in (network, twin(network))]
        grids = [
            {**{name: [value] for name, value in settings.items()}, "rate": list(training.RATES[settings["optimizer"]])}
            for settings in wanted
        ]
        target = f"{training.__file__}:{training.trained.__name__}"
        return Spec.of({"name": "Severity", "function": target, "grid": grids})


def twin(network: Settings) -> Settings:
    """The same network without a fault of scale; a sound one is its own twin.

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
