"""The chapter as a list of experiments, and their results put together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console

from undertow.lab import Dataset
from undertow.studies.chapter5 import explosion, speeds, trainability, training
from undertow.studies.chapter5.chains import chains
from undertow.studies.chapter5.claims import judge
from undertow.studies.chapter5.protocol import BOOK_ACCURACY, BOOK_INITIAL_SPEED, HIDDEN, LMBDA, Protocol
from undertow.studies.environment import environment
from undertow.studies.tasks import Task, run_all

EVERY = 5
"""The share of progress is kept for every fifth epoch."""


def plan(protocol: Protocol) -> list[Task]:
    """All experiments, longest first, so that no process idles while another finishes a long one.

    Example:
        >>> [task.name for task in plan(Protocol())][:2]
        ['train 4 hidden layers', 'train 3 hidden layers']
    """
    with_protocol = {"protocol": protocol}
    train = [
        Task(_train(h), training.train_network, protocol.epochs, {"hidden": h, **with_protocol})
        for h in reversed(HIDDEN)
    ]
    controls = [
        Task(_control(c), training.train_control, protocol.epochs, {"control": c, **with_protocol})
        for c in training.CONTROLS
    ]
    descents = [
        Task(_descent(h, lmbda), speeds.descend, protocol.descent_steps, {"hidden": h, "lmbda": lmbda, **with_protocol})
        for h in reversed(HIDDEN)
        for lmbda in (LMBDA, 0.0)
    ]
    grids = [
        Task(_grid(a), trainability.train_grid, _grid_steps(protocol), {"activation": a, **with_protocol})
        for a in trainability.ACTIVATIONS
    ]
    short = [
        Task("converge", speeds.converge, speeds.SHALLOW_EPOCHS, with_protocol),
        Task("start", speeds.initial_speeds, len(HIDDEN), with_protocol),
        Task("explode", explosion.explode, len(explosion.DIVERGING), with_protocol),
        Task("costs", speeds.compare_costs, 4, with_protocol),
        Task("bars", speeds.initial_bars, 1, with_protocol),
        Task("split", speeds.split_speeds, 1, with_protocol),
    ]
    return [*train, *controls, *grids, *descents, *short]


def measure(protocol: Protocol, data_name: str, data: Dataset, console: Console) -> dict[str, Any]:
    """Run every experiment and return what `results.json` holds, as NumPy arrays and plain values."""
    found = run_all(plan(protocol), data_name, console)
    results = {
        "schema": 1,
        "quick": protocol.quick,
        "members": protocol.members,
        "seed": protocol.seed,
        "data": {"name": data.name, "sha256": data.sha256, "image_shape": list(data.image_shape)},
        **assemble(found, on_mnist=data.name == "mnist"),
        "trainability": trainability.result({a: found[_grid(a)] for a in trainability.ACTIVATIONS}, protocol),
        "chain": chains(protocol.seed),
        "environment": environment(),
    }
    return {**results, "claims": judge(results)}


def assemble(found: Mapping[str, Any], on_mnist: bool) -> dict[str, Any]:
    """Sort the experiments' results by the question they answer; the book's figures stand beside MNIST's only."""
    return {
        "accuracy": {
            str(h): {
                **{key: found[_train(h)][key] for key in ("validation", "test", "initial_sha256", "final_sha256")},
                "book": BOOK_ACCURACY[h] if on_mnist else None,
            }
            for h in HIDDEN
        },
        "initial_speed": {
            str(h): {"speed": found["start"][str(h)], "book": BOOK_INITIAL_SPEED.get(h) if on_mnist else None}
            for h in HIDDEN
        },
        "initial_bars": {
            "member": 0,
            "1": found["bars"][0, 0],
            "2": found["bars"][0, 1],
            "members": found["bars"],
        },
        "training_speed": {str(h): _training_speed(found, h) for h in HIDDEN},
        "reset": {
            str(h): {
                "accuracy_lost": found[_train(h)]["lost_initial"],
                "accuracy_lost_fresh": found[_train(h)]["lost_fresh"],
            }
            for h in HIDDEN
        },
        "moved": {str(h): found[_train(h)]["moved"] for h in HIDDEN},
        "share_of_progress": {str(h): _thinned(found[_train(h)]["share"]) for h in HIDDEN},
        "first_layer": {str(h): found[_train(h)]["images"] for h in HIDDEN},
        "controls": {name: found[_control(name)] for name in training.CONTROLS},
        "convergence": found["converge"],
        "costs": found["costs"],
        "split": found["split"],
        "explosion": found["explode"],
    }


def _training_speed(found: Mapping[str, Any], hidden: int) -> dict[str, Any]:
    with_decay, without = found[_descent(hidden, LMBDA)], found[_descent(hidden, 0.0)]
    return {
        "speed": with_decay["speed"],
        "speed_without_decay": without["speed"],
        "per_example_speed": with_decay["per_example_speed"],
        "per_example_speed_without_decay": without["per_example_speed"],
        "accuracy": with_decay["accuracy"],
        "accuracy_without_decay": without["accuracy"],
    }


def _thinned(share: Any) -> dict[str, Any]:
    epochs = np.unique([0, 1, 2, 3, *range(0, share.shape[1], EVERY), share.shape[1] - 1])
    return {"epoch": epochs, "share": share[:, epochs]}


def _train(hidden: int) -> str:
    return f"train {hidden} hidden layer{'s' * (hidden > 1)}"


def _control(name: str) -> str:
    return f"control: {name}"


def _descent(hidden: int, lmbda: float) -> str:
    return f"descend, {hidden} hidden, lmbda {lmbda:g}"


def _grid(activation: str) -> str:
    return f"which deep networks train: {activation}"


def _grid_steps(protocol: Protocol) -> int:
    grid = trainability.Grid.of(protocol)
    return grid.epochs * len(grid.etas)
