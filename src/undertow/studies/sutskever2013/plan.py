"""The study as a list of experiments, and their results put together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.studies.experiments import Task
from undertow.studies.study import Job, Results
from undertow.studies.sutskever2013 import training
from undertow.studies.sutskever2013.config import (
    METHODS,
    PAPER_ERROR,
    PAPER_LOWERING,
    PAPER_SCALE_ERROR,
    SCALES,
    Sutskever2013Config,
    weight_var,
)
from undertow.theory import meanfield


def plan(config: Sutskever2013Config, seed: int) -> list[Task]:
    """List all experiments, longest first.

    Example:
        >>> len(plan(Sutskever2013Config(), seed=0))
        14
    """
    shared: dict[str, Any] = {"config": config, "seed": seed}
    methods = [
        Task(name, training.compare, config.rates + bool(method.mu), {"name": name, **shared})
        for name, method in reversed(METHODS.items())
    ]
    scales = [Task(f"scale x {each:g}", training.rescale, config.rates, {"scale": each, **shared}) for each in SCALES]
    return [*methods, *scales]


def measure(job: Job) -> dict[str, Any]:
    """Run all experiments and sort what they found."""
    return assemble(job.run(plan(job.config, job.seed)), job.config)


def assemble(found: Mapping[str, Any], config: Sutskever2013Config) -> dict[str, Any]:
    """Sort what the experiments found by the question it answers."""
    return {
        "amount": vars(config),
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
    """Return a row for each look at each layer of each network whose learning rate was kept."""
    runs = [(name, 1.0, found) for name, found in results["methods"].items()]
    runs += [("0.99N", float(scale), found) for scale, found in results["scales"].items()]
    table = []
    for part, (name, scale, found) in enumerate(runs):
        moved = np.asarray(found["moved"], float)
        kind = "methods" if part < len(results["methods"]) else "scales"
        named = {"experiment": kind, "method": name, "scale": scale, "eta": float(found["eta"])}
        for member, look, l in np.ndindex(moved.shape):
            at = {"member": member, "update": int(found["updates"][look])}
            error = {"squared_error": float(found["error"][member][look])}
            table.append({**named, **at, **error, "layer": l + 1, "moved": float(moved[member, look, l])})
    return table
