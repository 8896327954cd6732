"""Sort the outcome into fields: accuracies over depth and variances, the depths reached, and theory's line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.studies.io import PARQUET_NAME
from undertow.studies.study import Job
from undertow.studies.trainability import expected
from undertow.studies.trainability.config import BIAS_VAR, TRAINED, BiasMap, Map, TrainabilityConfig

STORE = "cells.sweep"

Array = NDArray[np.float64]
Row = dict[str, Any]

MEASURED = ("train_accuracy", "accuracy", "loss")


def measure(job: Job) -> dict[str, Any]:
    """Train the map as a sweep, and sort what it found; a run that was interrupted goes on where it stopped."""
    config: TrainabilityConfig = replace(job.config, seed=job.seed)
    results = job.sweep(config.spec(job.data_name), STORE)
    if find_spec("pyarrow"):
        results.save(job.out / PARQUET_NAME)
    rows, names = results.rows(), ("width", "images", "epochs", "batch_size", "seeds")
    return {
        "protocol": {name: getattr(config, name) for name in names},
        "networks": len(rows),
        "seconds": results.seconds(),
        **fields(rows, config),
    }


def fields(rows: Sequence[Row], config: TrainabilityConfig) -> dict[str, Any]:
    """Return the maps over depth, by activation, and the map over both variances, from the rows of the sweep."""
    return {
        "maps": {each.activation: _map(rows, each, config) for each in config.maps},
        "bias_map": _bias_map(rows, config.bias_map, config),
    }


def _map(rows: Sequence[Row], each: Map, config: TrainabilityConfig) -> dict[str, Any]:
    axes = {"depth": each.depth, "weight_var": each.weight_var, "seed": range(config.seeds)}
    kept = [row for row in rows if row["activation"] == each.activation and row["bias_var"] == BIAS_VAR]
    found = {name: arranged(kept, axes, name) for name in MEASURED}
    curve = arranged(kept, axes, "curve", config.epochs)
    low, high = min(each.weight_var), max(each.weight_var)
    variances = np.array(each.weight_var, dtype=float)
    return {
        "eta": each.eta, "bias_var": BIAS_VAR, "depth": list(each.depth), "weight_var": list(each.weight_var), **found,
        "curve": curve,
        "diverged": arranged(kept, axes, "diverged"),
        "deepest": deepest(found["train_accuracy"].mean(-1), each.depth),
        "deepest_by_epoch": np.stack([deepest(curve[..., e].mean(-1), each.depth) for e in range(config.epochs)]),
        "expected": expected.depths(each.activation, variances, BIAS_VAR),
        "line": expected.line(each.activation, BIAS_VAR, low, high),
        "critical": expected.critical(each.activation, BIAS_VAR, low, 2 * high),
    }  # fmt: skip


def _bias_map(rows: Sequence[Row], each: BiasMap, config: TrainabilityConfig) -> dict[str, Any]:
    axes = {"bias_var": each.bias_var, "weight_var": each.weight_var, "seed": range(config.seeds)}
    kept = [row for row in rows if (row["activation"], row["depth"]) == (each.activation, each.depth)]
    variances = np.array(each.weight_var, dtype=float)
    return {
        "activation": each.activation, "eta": each.eta, "depth": each.depth,
        "bias_var": list(each.bias_var), "weight_var": list(each.weight_var),
        **{name: arranged(kept, axes, name) for name in MEASURED},
        "expected": np.stack([expected.depths(each.activation, variances, b) for b in each.bias_var]),
    }  # fmt: skip


def arranged(rows: Sequence[Row], axes: Mapping[str, Sequence[float]], name: str, length: int = 0) -> Array:
    """Return a result of all cells as an array with a dimension for each axis; NaN where there is none.

    Args:
        rows: of the sweep.
        axes: settings and their values, in the order of the dimensions.
        name: of the result.
        length: of the result, where it is a list.

    Example:
        >>> arranged([{"depth": 2, "seed": 0, "loss": 0.5}], {"depth": [1, 2], "seed": [0]}, "loss").tolist()
        [[nan], [0.5]]
    """
    places = [{value: i for i, value in enumerate(values)} for values in axes.values()]
    found = np.full([len(values) for values in axes.values()] + [length] * bool(length), np.nan)
    for row in rows:
        place = tuple(known.get(row[setting], -1) for known, setting in zip(places, axes, strict=True))
        if min(place) >= 0 and row.get(name) is not None:
            found[place] = np.array(row[name], dtype=float)
    return found


def deepest(accuracy: Array, depth: Sequence[int]) -> Array:
    """For each weight variance the depth of the deepest networks that trained; 0 where none did.

    Args:
        accuracy: mean over seeds, [depths, weight variances].
        depth: of its rows, ascending.

    Example:
        >>> deepest(np.array([[0.9, 0.2], [0.6, 0.1], [0.1, 0.1]]), [5, 10, 20]).tolist()
        [10.0, 0.0]
    """
    reached = np.where(accuracy >= TRAINED, np.array(depth, dtype=float)[:, None], 0.0)
    return np.asarray(reached.max(0))
