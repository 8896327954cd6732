"""The study as a list of experiments, and their results put together."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from undertow.studies.experiments import Task
from undertow.studies.remedies import training
from undertow.studies.remedies.config import ACTIVATIONS, ARCHITECTURES, RATES, STARTS, RemediesConfig, variances
from undertow.studies.study import Job, Results
from undertow.theory import meanfield


def plan(config: RemediesConfig, seed: int) -> list[Task]:
    """List all experiments, longest first.

    Example:
        >>> len(plan(RemediesConfig(), seed=0))
        64
    """
    shared: dict[str, Any] = {"config": config, "seed": seed}
    crossed = [
        Task(_name(a, h, o), training.train, len(config.depths), {**_levels(a, h, o), **shared})
        for h, a, o in product(_SLOWEST_FIRST, ACTIVATIONS, config.optimizers)
    ]
    starts = [Task(f"start: {a}", training.start, len(ARCHITECTURES), {"activation": a, **shared}) for a in ACTIVATIONS]
    return [*crossed, *starts]


def measure(job: Job) -> dict[str, Any]:
    """Run all experiments and sort what they found."""
    return assemble(job.run(plan(job.config, job.seed)), job.config)


def assemble(found: Mapping[str, Any], config: RemediesConfig) -> dict[str, Any]:
    """Sort what the experiments found by its place in the design."""
    crossed = {
        a: {h: {o: found[_name(a, h, o)] for o in config.optimizers} for h in ARCHITECTURES} for a in ACTIVATIONS
    }
    return {
        "amount": {**vars(config), "networks": config.networks},
        "factors": {
            "activation": list(ACTIVATIONS),
            "architecture": list(ARCHITECTURES),
            "optimizer": list(config.optimizers),
            "depth": list(config.depths),
            "start": list(STARTS),
        },
        "rates": {name: list(RATES[name]) for name in config.optimizers},
        "accuracy": crossed,
        "start_speed": {a: found[f"start: {a}"] for a in ACTIVATIONS},
        "expected_gain": {a: {s: meanfield.layer_gain(a, *variances(s, a)) for s in STARTS} for a in ACTIVATIONS},
    }


def rows(results: Results) -> list[dict[str, Any]]:
    """Return a row for each trained network."""
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
