"""Whether the positions of every example have become alike before attention, which then has nothing to choose."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from undertow.record import Role, Run, Site
from undertow.rules.ut2_attention import attends
from undertow.wording import called, times

NOTHING_LEFT = 1e-5
"""Part of the gradient: residual transformers leave queries and keys 1e-3 and more, over hundreds of positions 1e-4."""

FEWEST_ATTENTIONS = 2
SHARP_ABOVE = 0.5


def alike_positions(run: Run, row: int) -> dict[str, float] | None:
    """Return what queries and keys get of the gradient that reaches attention near the loss; None where it is usual.

    Where all values are the same, their weighted mean is the same whatever the weights: softmax passes nothing on.

    Example:
        >>> alike_positions(Run({}, ()), 0) is None
        True
    """
    received, sharp = run.column("grad_output", row), run.column("one_hot", row)
    passed = run.edge_column("contribution", row)
    found: list[tuple[Site, float]] = []
    for site in run.sites:  # from the loss to the front
        if site.role is not Role.ATTENTION or not received[site.index] > 0 or sharp[site.index] > SHARP_ABOVE:
            continue
        if _has_one_key(run, site):  # nothing to choose, by design: keys of a small picture that were reduced
            continue
        left = _left_to_choice(run, site, passed)
        if left is None:
            continue
        if left > NOTHING_LEFT * received[site.index]:
            break
        found.append((site, left / float(received[site.index])))
    if len(found) < FEWEST_ATTENTIONS:
        return None
    passed_on = max(left for _, left in found)
    return {"passed on": passed_on, "layers": float(len(found)), "site": float(found[0][0].index)}


def _has_one_key(run: Run, site: Site) -> bool:
    """Tell whether attention has a single key to look at, by softmax's last axis or by the rows of what makes keys."""
    if not site.op.startswith("scaled_dot_product"):
        return tuple(site.shape[-1:]) == (1,)
    makers = [run.sites[run.edges[edge].target].shape for edge in run.outgoing[site.index]][1:]
    return any(len(shape) > 1 and math.prod(shape[:-1]) == site.shape[0] for shape in makers)


def _left_to_choice(run: Run, site: Site, passed: NDArray[np.floating]) -> float | None:
    """Return the gradient that attention passes on to its queries and keys; None where nobody can tell."""
    ways = sorted((float(passed[edge]) for edge in run.outgoing[site.index]), reverse=True)
    if site.op.startswith("scaled_dot_product"):
        ways = ways[1:]  # the values take what is received as it is
    elif "softmax" not in site.op or not attends(run, site):
        return None
    return ways[0] if ways and ways[0] > 0 else None


def positions_sentence(run: Run, seen: Mapping[str, float]) -> str:
    """Say what `alike_positions` found.

    Example:
        >>> site = Site(0, "attn", "softmax", Role.ATTENTION)
        >>> positions_sentence(Run({}, (site,)), {"passed on": 1e-7, "layers": 3.0, "site": 0.0}).partition(": ")[2]
        'it finds the same wherever it looks, and queries and keys get 10 million times less gradient.'
    """
    return (
        f"All positions of an example look the same to the last {seen['layers']:.0f} attention layers, of which "
        f"{called(run, run.sites[int(seen['site'])])} is nearest to the loss: it finds the same wherever it looks, and "
        f"queries and keys get {times(seen['passed on'])} gradient."
    )
