"""The study as a list of experiments, and their results put together."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from undertow.lab import Dataset
from undertow.studies.remedies import training
from undertow.studies.remedies.design import ACTIVATIONS, ARCHITECTURES, RATES, STARTS, Amount, variances
from undertow.studies.study import Results, Scale
from undertow.studies.tasks import Task
from undertow.theory import meanfield


def plan(scale: Scale, data: Dataset) -> list[Task]:
    """All experiments, longest first.

    Example:
        >>> from undertow.lab import digits
        >>> len(plan(Scale(), digits()))
        64
    """
    del data
    amount = Amount.of(scale)
    shared: dict[str, Any] = {"amount": amount, "seed": scale.seed}
    crossed = [
        Task(
            _name(a, h, o),
            training.train,
            len(amount.depths),
            {"activation": a, "architecture": h, "optimizer": o, **shared},
        )
        for h, a, o in product(_SLOWEST_FIRST, ACTIVATIONS, amount.optimizers)
    ]
    starts = [Task(f"start: {a}", training.start, len(ARCHITECTURES), {"activation": a, **shared}) for a in ACTIVATIONS]
    return [*crossed, *starts]


def assemble(found: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """Sort what the experiments found by its place in the design."""
    amount = Amount.of(scale)
    crossed = {
        a: {h: {o: found[_name(a, h, o)] for o in amount.optimizers} for h in ARCHITECTURES} for a in ACTIVATIONS
    }
    return {
        "amount": {**vars(amount), "networks": amount.networks},
        "factors": {
            "activation": list(ACTIVATIONS),
            "architecture": list(ARCHITECTURES),
            "optimizer": list(amount.optimizers),
            "depth": list(amount.depths),
            "start": list(STARTS),
        },
        "rates": {name: list(RATES[name]) for name in amount.optimizers},
        "accuracy": crossed,
        "start_speed": {a: found[f"start: {a}"] for a in ACTIVATIONS},
        "expected_gain": {a: {s: meanfield.layer_gain(a, *variances(s, a)) for s in STARTS} for a in ACTIVATIONS},
    }


def rows(results: Results) -> list[dict[str, Any]]:
    """A row for each trained network."""
    factors, table = results["factors"], []
    for a, h, o in product(factors["activation"], factors["architecture"], factors["optimizer"]):
        accuracy = np.asarray(results["accuracy"][a][h][o], float)
        for d, s, r in np.ndindex(accuracy.shape):
            named = {**_levels(a, h, o), "depth": factors["depth"][d]}
            rate = float(results["rates"][o][r])
            table.append({**named, "start": factors["start"][s], "rate": rate, "accuracy": float(accuracy[d, s, r])})
    return table


def _levels(activation: str, architecture: str, optimizer: str) -> dict[str, Any]:
    return {"activation": activation, "architecture": architecture, "optimizer": optimizer}


def _name(activation: str, architecture: str, optimizer: str) -> str:
    return f"{architecture}, {activation}, {optimizer}"


_SLOWEST_FIRST = ("BatchNorm", "residual + norm", "LayerNorm", "residual", "plain")
