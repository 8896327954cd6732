"""Numbers that the sentences of the study's page quote."""

import numpy as np

from undertow.studies.glorot2010.claims import Array, test_error, trained
from undertow.studies.glorot2010.config import COMPARED
from undertow.studies.study import Results

CIRCLE = 8 / (3 * np.pi)
"""Mean singular value of a large square matrix of independent entries of variance 1/n (the quarter-circle law)."""


def lowest_mean(results: Results, source: str, name: str) -> tuple[float, int, float]:
    """Return the last hidden layer's lowest mean activation, after how many images it is reached, and its last."""
    top = np.median(trained(results, source, name, "mean")[:, :, -1], 0)
    return float(top.min()), int(results["training"][source][name]["examples"][int(top.argmin())]), float(top[-1])


def ends(results: Results, source: str, what: str, name: str) -> tuple[str, str]:
    """Return the per cent of the first and of the last layer's units that are saturated at the end."""
    share = np.median(trained(results, source, name, what)[:, -1], 0)
    return f"{100 * share[0]:.0f}", f"{100 * share[-1]:.0f}"


def samples_of_a_layer(results: Results) -> int:
    """Return how many values of each layer the histograms are drawn from."""
    return len(results["start"]["standard"]["samples"]["delta"][0])


def jacobians(results: Results, kind: str) -> list[str]:
    """Return the mean singular value from each hidden layer to the next."""
    return [f"{v:.3f}" for v in np.asarray(results["start"][kind]["singular"], float).mean(0)]


def drift(results: Results, source: str, name: str) -> Array:
    """Return the largest over the smallest weight gradient among layers of equal shape, through training."""
    sizes = trained(results, source, name, "weight_gradient")[:, :, 1:]
    return np.asarray(np.median(sizes.max(-1) / sizes.min(-1), 0))


def best_to_worst(results: Results, source: str) -> list[str]:
    """Return the networks compared, the one with the least test error first."""
    return sorted(COMPARED, key=lambda name: test_error(results, source, name).mean())
