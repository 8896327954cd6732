"""The study as a list of experiments, and their results put together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.lab import Dataset
from undertow.lab.shapes import CLASSES, SIDE, shapeset
from undertow.studies.experiments import Task
from undertow.studies.glorot2010 import starts, surfaces, training
from undertow.studies.glorot2010.config import CONFIGURATIONS, PAPER_ERROR, SHAPES, Glorot2010Config
from undertow.studies.study import Job, Results, unmarked

STARTS = {"standard": "tanh", "normalised": "tanh N"}


def plan(config: Glorot2010Config, seed: int, data: Dataset) -> list[Task]:
    """List all experiments, longest first.

    Example:
        >>> from undertow.lab import digits
        >>> [task.name for task in plan(Glorot2010Config(), 0, digits())][:2]
        ['shapes: softsign', 'shapes: softsign N']
    """
    shared: dict[str, Any] = {"config": config, "seed": seed}
    trained = [
        Task(f"{source}: {name}", training.train, config.points - 1, {"source": source, "name": name, **shared})
        for source in (SHAPES, given(data))
        for name in CONFIGURATIONS
    ]
    started = [
        Task(f"start: {kind}", starts.start, config.start_seeds, {"source": given(data), "name": name, **shared})
        for kind, name in STARTS.items()
    ]
    return [*trained, *started, Task("surfaces", surfaces.surfaces, 2, {"seed": seed})]


def measure(job: Job) -> dict[str, Any]:
    """Run all experiments and sort what they found."""
    return assemble(job.run(plan(job.config, job.seed, job.data)), job.config, job.seed)


def given(data: Dataset) -> str:
    """Return what the data set goes by: its name, which a folder called like our shapes must not take from them."""
    name = unmarked(data.name)
    return f"{name} (given)" if name == SHAPES else name


def assemble(found: Mapping[str, Any], config: Glorot2010Config, seed: int) -> dict[str, Any]:
    """Sort what the experiments found by the question it answers."""
    training_by_source: dict[str, dict[str, Any]] = {}
    for name in found:
        source, _, configuration = name.rpartition(": ")
        if configuration in CONFIGURATIONS:
            training_by_source.setdefault(source, {})[configuration] = found[name]
    return {
        "amount": vars(config),
        "paper_error": PAPER_ERROR,
        "training": training_by_source,
        "start": {kind: found[f"start: {kind}"] for kind in STARTS},
        "surface": found["surfaces"],
        "shown": shown(seed),
    }


def shown(seed: int) -> dict[str, Any]:
    """Two of our shapes of each class, for the page: images [18, 32, 32] and what is in them.

    Example:
        >>> shown(0)["names"][:2]
        ['triangle', 'triangle']
    """
    drawn = shapeset(500, seed)
    first = [int(i) for c in range(len(CLASSES)) for i in (drawn.y == c).nonzero().flatten()[:2]]
    names = [" and ".join(CLASSES[int(drawn.y[i])]) for i in first]
    return {"images": drawn.x[first].reshape(-1, SIDE, SIDE).numpy().round(2), "names": names}


def rows(results: Results) -> list[dict[str, Any]]:
    """Return a row for each trained network and each look at one of its hidden layers."""
    table = []
    for source, configurations in results["training"].items():
        for name, found in configurations.items():
            mean = np.asarray(found["mean"])
            for member, point, l in np.ndindex(mean.shape):
                numbers = {key: float(np.asarray(found[key])[member, point, l]) for key in _MEASURED}
                at = {"examples": int(found["examples"][point]), "error": float(found["error"][member, point])}
                named = {"source": source, "network": name, "eta": float(found["eta"]), "member": member}
                table.append({**named, **at, "layer": l + 1, **numbers})
    return table


_MEASURED = ("mean", "sd", "ended", "saturated", "delta", "weight_gradient")
