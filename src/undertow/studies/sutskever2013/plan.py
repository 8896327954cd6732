"""The study as a list of experiments, and their results put together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.lab import Dataset
from undertow.studies.study import Results, Scale
from undertow.studies.sutskever2013 import training
from undertow.studies.sutskever2013.protocol import (
    METHODS,
    PAPER_ERROR,
    PAPER_LOWERING,
    PAPER_SCALE_ERROR,
    SCALES,
    Amount,
    weight_var,
)
from undertow.studies.tasks import Task
from undertow.theory import meanfield


def plan(scale: Scale, data: Dataset) -> list[Task]:
    """All experiments, longest first.

    Example:
        >>> from undertow.lab import digits
        >>> len(plan(Scale(), digits()))
        14
    """
    del data
    amount = Amount.of(scale)
    shared: dict[str, Any] = {"amount": amount, "seed": scale.seed}
    methods = [
        Task(name, training.compare, amount.rates + bool(method.mu), {"name": name, **shared})
        for name, method in reversed(METHODS.items())
    ]
    scales = [Task(f"scale x {each:g}", training.rescale, amount.rates, {"scale": each, **shared}) for each in SCALES]
    return [*methods, *scales]


def assemble(found: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """Sort what the experiments found by the question it answers."""
    return {
        "amount": vars(Amount.of(scale)),
        "paper_error": PAPER_ERROR,
        "paper_scale_error": {f"{s:g}": e for s, e in PAPER_SCALE_ERROR.items()},
        "paper_lowering": PAPER_LOWERING,
        "methods": {name: found[name] for name in METHODS},
        "scales": {
            f"{s:g}": {**found[f"scale x {s:g}"], "expected_gain": meanfield.layer_gain("sigmoid", weight_var(s))}
            for s in SCALES
        },
    }


def rows(results: Results) -> list[dict[str, Any]]:
    """A row for each look at each layer of each network whose learning rate was kept."""
    runs = [(name, 1.0, found) for name, found in results["methods"].items()]
    runs += [("0.99N", float(scale), found) for scale, found in results["scales"].items()]
    table = []
    for part, (name, scale, found) in enumerate(runs):
        moved = np.asarray(found["moved"], float)
        for member, look, l in np.ndindex(moved.shape):
            table.append(
                {
                    "experiment": "methods" if part < len(results["methods"]) else "scales",
                    "method": name,
                    "scale": scale,
                    "eta": float(found["eta"]),
                    "member": member,
                    "update": int(found["updates"][look]),
                    "squared_error": float(found["error"][member][look]),
                    "layer": l + 1,
                    "moved": float(moved[member, look, l]),
                }
            )
    return table
