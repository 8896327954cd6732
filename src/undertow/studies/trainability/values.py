"""Numbers that the sentences of the study's page quote."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertow.formatting import counted
from undertow.studies.study import Results
from undertow.studies.trainability.claims import factors
from undertow.studies.trainability.config import TRAINED


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def deepest_tanh(results: Results) -> float:
    """Return the depth of the deepest tanh networks that train."""
    return float(np.max(np.asarray(results["maps"]["tanh"]["deepest"], float)))


def where_deepest(results: Results) -> str:
    """Say at which weight variances the deepest tanh networks train."""
    at = reached(results, "tanh")
    best = [f"{w:g}" for w, depth in at.items() if depth == max(at.values())]
    return f"a weight variance of {best[0]}" if len(best) == 1 else f"weight variances of {best[0]} to {best[-1]}"


def where_most(results: Results, name: str) -> str:
    """Say at which weight variances most depth is to be had."""
    at = reached(results, name)
    best = [w for w, depth in at.items() if depth == max(at.values())]
    return f"at {best[0]:g}" if len(best) == 1 else f"from {best[0]:g} to {best[-1]:g}"


def whole_batches(images: int, batch_size: int) -> int:
    """Return how many mini-batches an epoch has."""
    return -(-images // batch_size)


def reached(results: Results, name: str) -> Mapping[float, float]:
    """Return the deepest that train at every weight variance."""
    return dict(zip(results["maps"][name]["weight_var"], results["maps"][name]["deepest"], strict=True))


def least_expected(results: Results, name: str) -> float:
    """Return the depth that theory gives an activation at the smallest weight variance."""
    field = results["maps"][name]
    return float(dict(zip(field["weight_var"], field["expected"], strict=True))[min(field["weight_var"])])


def diverged(results: Results, name: str) -> int:
    """Return how many networks of a map ended in numbers that aren't finite."""
    return int(np.nansum(np.asarray(results["maps"][name]["diverged"], dtype=float)))


def hidden_layers(depth: float) -> str:
    """Name a depth."""
    return counted(int(depth), "hidden layer") if depth else "no hidden layer"


def bias_agreement(results: Results) -> tuple[float, float, float]:
    """Return the share of settings theory is right about, of those it lets train that do, and of the rest that do."""
    field: Mapping[str, Any] = results["bias_map"]
    trained = np.asarray(field["train_accuracy"], dtype=float).mean(-1) >= TRAINED
    within = np.asarray(field["expected"], dtype=float) >= field["depth"]
    return float((trained == within).mean()), float(trained[within].mean()), float(trained[~within].mean())


def edge_moved(results: Results) -> int:
    """Return at how many variances the last epoch let deeper tanh networks train."""
    by_epoch = np.asarray(results["maps"]["tanh"]["deepest_by_epoch"], dtype=float)
    return int((by_epoch[-1] > by_epoch[-2]).sum())


def growth(results: Results) -> str:
    """Tell the factor of tanh after every epoch in which the map's depths tell it."""
    field = results["maps"]["tanh"]
    found = [factors(field, epoch) for epoch in range(len(field["deepest_by_epoch"]))]
    told = [f"{np.median(each):.1f}" for each in found if each.size]
    return f"here over the epochs {', '.join(told)}" if told else "which these few depths can't show"
