"""The results as arrays over the design: activation, architecture, optimizer, depth, start."""

import numpy as np
from numpy.typing import NDArray

from undertow.studies.remedies.config import TRAINS
from undertow.studies.study import Results

Array = NDArray[np.float64]


def best_accuracy(results: Results) -> Array:
    """Accuracy with each network's best learning rate, [activations, architectures, optimizers, depths, starts]."""
    return np.array(
        [
            [
                [np.asarray(results["accuracy"][a][h][o], float).max(-1) for o in results["factors"]["optimizer"]]
                for h in results["factors"]["architecture"]
            ]
            for a in results["factors"]["activation"]
        ]
    )


def deepest(results: Results) -> Array:
    """Return the greatest depth up to which every depth trains, 0 where none does.

    Shape [activations, architectures, optimizers, starts].
    """
    trains = best_accuracy(results) >= TRAINS
    up_to = np.cumprod(trains, axis=3).sum(3)
    return np.array([0, *results["factors"]["depth"]])[up_to]


def gradient_decades(results: Results) -> Array:
    """log10 of the first hidden layer's learning speed over the last's at the start, NaN for a single layer or none.

    Shape [activations, architectures, depths, starts]; below 0 the gradient vanishes, above it explodes.
    """
    factors, speed = results["factors"], results["start_speed"]
    found = [
        [[_decades(np.asarray(speed[a][h][str(d)], float)) for d in factors["depth"]] for h in factors["architecture"]]
        for a in factors["activation"]
    ]
    return np.array(found)


def index(results: Results, factor: str, *levels: object) -> list[int]:
    """Places of some levels of a factor.

    Example:
        >>> index({"factors": {"start": ["book", "He"]}}, "start", "He")
        [1]
    """
    return [results["factors"][factor].index(level) for level in levels]


def main_effect(results: Results, factor: str) -> dict[str, float]:
    """Return the mean accuracy at each level of a factor, over all levels of all others.

    Example:
        >>> levels = {"activation": ["tanh"], "architecture": ["plain"], "optimizer": ["SGD"], "start": ["He"]}
        >>> accuracy = {"tanh": {"plain": {"SGD": [[[0.9, 0.7]], [[0.5, 0.4]]]}}}
        >>> main_effect({"factors": {**levels, "depth": [1, 2]}, "accuracy": accuracy}, "depth")
        {'1': 0.9, '2': 0.5}
    """
    place = AXES.index(factor)
    means = best_accuracy(results).mean(tuple(k for k in range(len(AXES)) if k != place))
    return {str(level): float(mean) for level, mean in zip(results["factors"][factor], means, strict=True)}


AXES = ("activation", "architecture", "optimizer", "depth", "start")
CALLED = {
    "activation": "activation",
    "architecture": "between the layers",
    "optimizer": "optimizer",
    "depth": "hidden layers",
    "start": "start",
}
"""The factors as they are called in text."""


def _decades(speed: Array) -> Array:
    if speed.shape[1] < 2:
        return np.full(len(speed), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        decades: Array = np.log10(speed[:, 0] / speed[:, -1])
    return decades
