"""Numbers that the sentences of the study's page quote."""

import numpy as np

from undertow.formatting import signed
from undertow.pytorch_code import spelled
from undertow.studies.remedies.table import AXES, deepest, gradient_decades, index, main_effect
from undertow.studies.study import Results

FEW = 3
"""So many combinations are named one by one."""


def all_the_way(results: Results, architecture: str) -> str:
    """Count the combinations of activation and start that train at all depths, and name them if they are few."""
    factors, [h] = results["factors"], index(results, "architecture", architecture)
    there = deepest(results).max(2)[:, h] == factors["depth"][-1]
    names = [f"{spelled(factors['activation'][a])}, {factors['start'][s]}" for a, s in np.argwhere(there)]
    return f"{len(names)} of {there.size}" + (f" ({'; '.join(names)})" if 0 < len(names) <= FEW else "")


def ranges(results: Results) -> dict[str, float]:
    """Return the range of the mean accuracy over each factor's levels, the largest first."""
    means = {factor: main_effect(results, factor).values() for factor in AXES}
    found = {factor: max(each) - min(each) for factor, each in means.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def decades(results: Results, architecture: str, activation: str) -> str:
    """Return by how many decades the gradient grows on its way back through the deepest networks (median)."""
    [h], [a] = index(results, "architecture", architecture), index(results, "activation", activation)
    return signed(float(np.nanmedian(gradient_decades(results)[a, h, -1])), 1)
