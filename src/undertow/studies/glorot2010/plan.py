"""The study as a list of experiments, and their results put together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.lab import Dataset
from undertow.lab.shapes import CLASSES, SIDE, shapeset
from undertow.studies.glorot2010 import starts, surfaces, training
from undertow.studies.glorot2010.protocol import CONFIGURATIONS, PAPER_ERROR, SHAPES, Amount
from undertow.studies.study import Results, Scale
from undertow.studies.tasks import Task
from undertow.studies.wording import unmarked

STARTS = {"standard": "tanh", "normalised": "tanh N"}


def plan(scale: Scale, data: Dataset) -> list[Task]:
    """All experiments, longest first.

    Example:
        >>> from undertow.lab import digits
        >>> [task.name for task in plan(Scale(), digits())][:2]
        ['shapes: softsign', 'shapes: softsign N']
    """
    amount = Amount.of(scale)
    shared: dict[str, Any] = {"amount": amount, "seed": scale.seed}
    trained = [
        Task(f"{source}: {name}", training.train, amount.points - 1, {"source": source, "name": name, **shared})
        for source in (SHAPES, given(data))
        for name in CONFIGURATIONS
    ]
    started = [
        Task(f"start: {kind}", starts.start, amount.start_seeds, {"source": given(data), "name": name, **shared})
        for kind, name in STARTS.items()
    ]
    return [*trained, *started, Task("surfaces", surfaces.surfaces, 2, {"seed": scale.seed})]


def given(data: Dataset) -> str:
    """What the data set goes by: its name, which a folder called like our shapes must not take from them."""
    name = unmarked(data.name)
    return f"{name} (given)" if name == SHAPES else name


def assemble(found: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """Sort what the experiments found by the question it answers."""
    training_by_source: dict[str, dict[str, Any]] = {}
    for name in found:
        source, _, configuration = name.rpartition(": ")
        if configuration in CONFIGURATIONS:
            training_by_source.setdefault(source, {})[configuration] = found[name]
    return {
        "amount": vars(Amount.of(scale)),
        "paper_error": PAPER_ERROR,
        "training": training_by_source,
        "start": {kind: found[f"start: {kind}"] for kind in STARTS},
        "surface": found["surfaces"],
        "shown": shown(scale.seed),
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
    """A row for each trained network and each look at one of its hidden layers."""
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
