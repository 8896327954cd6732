"""The chapter as a list of experiments, and their results put together."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.studies.chapter5 import explosion, speeds, trainability, training
from undertow.studies.chapter5.chains import chains
from undertow.studies.chapter5.config import BOOK_ACCURACY, BOOK_INITIAL_SPEED, HIDDEN, LMBDA, Chapter5Config
from undertow.studies.experiments import Experiment, Task
from undertow.studies.study import Job

EVERY = 5
"""The share of progress is kept for every fifth epoch."""


def plan(config: Chapter5Config, seed: int) -> list[Task]:
    """List all experiments, longest first, so that no process idles while another finishes a long one.

    Example:
        >>> [task.name for task in plan(Chapter5Config(), seed=0)][:2]
        ['train 4 hidden layers', 'train 3 hidden layers']
    """

    def task(name: str, run: Experiment, steps: int, **arguments: Any) -> Task:
        return Task(name, run, steps, {"seed": seed, **arguments})

    deepest_first = list(reversed(HIDDEN))
    return [
        *(task(_train(h), training.train_network, config.epochs, hidden=h, config=config) for h in deepest_first),
        *(
            task(_control(c), training.train_control, config.epochs, control=c, config=config)
            for c in training.CONTROLS
        ),
        *(
            task(
                _grid(a),
                trainability.train_grid,
                config.grid.epochs * len(config.grid.etas),
                activation=a,
                config=config,
            )
            for a in trainability.ACTIVATIONS
        ),
        *(
            task(_descent(h, lmbda), speeds.descend, config.descent_steps, hidden=h, lmbda=lmbda, config=config)
            for h in deepest_first
            for lmbda in (LMBDA, 0.0)
        ),
        task("converge", speeds.converge, speeds.SHALLOW_EPOCHS, config=config),
        task("start", speeds.initial_speeds, len(HIDDEN), config=config),
        task("explode", explosion.explode, len(explosion.DIVERGING)),
        task("costs", speeds.compare_costs, 4),
        task("bars", speeds.initial_bars, 1),
        task("split", speeds.split_speeds, 1),
    ]


def measure(job: Job) -> dict[str, Any]:
    """Run every experiment and return what `results.json` holds, as NumPy arrays and plain values."""
    config: Chapter5Config = job.config
    found = job.run(plan(config, job.seed))
    return {
        "members": config.members,
        **assemble(found, on_mnist=job.data.name == "mnist"),
        "trainability": trainability.result({a: found[_grid(a)] for a in trainability.ACTIVATIONS}, config.grid),
        "chain": chains(job.seed),
    }


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
