"""Numbers that the sentences of the study's page quote."""

import math
from typing import Any

import numpy as np

from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import HIGH, lowered, scale_error, slow_layers, slowness
from undertow.studies.sutskever2013.config import METHODS

STUCK = 0.9
"""A network with this share of the mean image's error, or more, has learned next to nothing but that image."""

WRITTEN = {"0.25": "× ¼", "0.5": "× ½", "1": "× 1", "2": "× 2", "4": "× 4"}


def updates(results: Results) -> int:
    """Return the number of updates of the networks compared."""
    return int(max(results["methods"]["SGD"]["updates"]))


def updates_of_scales(results: Results) -> int:
    """Return the number of updates of the networks that start at another scale."""
    return int(max(results["scales"]["1"]["updates"]))


def layers(results: Results) -> int:
    """Return the number of layers between the code's two ends."""
    return 2 * len(results["amount"]["hidden"]) - 1


def decades_lost(results: Results) -> float:
    """Return the decades that theory says the smallest start's gradient loses on its way."""
    return -math.log10(results["scales"]["0.25"]["expected_gain"]) * layers(results)


def landings(results: Results) -> dict[str, tuple[float, float, float]]:
    """Return the errors before momentum is lowered, after it, and after as many updates without."""
    cases = [(kind, letter, mu) for kind, letter in (("Nesterov", "N"), ("classical", "M")) for mu in HIGH]
    return {f"{kind}, {mu:g}": lowered(results, f"{mu:g}{letter}") for kind, letter, mu in cases}


def landed(results: Results) -> dict[str, Any]:
    """Count the cases in which lowering momentum helps, and measure by how much."""
    found = list(landings(results).values())
    shares = [1 - after / high for _, after, high in found]
    return {
        "cases": len(found),
        "fell": sum(after < before for before, after, _ in found),
        "helped": sum(after < high for _, after, high in found),
        "least": min(shares),
        "most": max(shares),
    }


def come_down(results: Results) -> str:
    """Say which of the large starts have come to be better than the mean image."""
    limit = STUCK * results["scales"]["1"]["constant"]
    better = [WRITTEN[scale] for scale in ("2", "4") if scale_error(results, scale) <= limit]
    if not better:
        return "neither is better than the mean image"
    return " and ".join(better) + (" are" if len(better) > 1 else " alone is") + " better than the mean image"


def still_stuck(results: Results) -> str:
    """Say which of the small starts are still where nothing is learned."""
    limit = STUCK * results["scales"]["1"]["constant"]
    there = [WRITTEN[scale] for scale in ("0.25", "0.5") if scale_error(results, scale) > limit]
    return (
        " and ".join(there) + (" are" if len(there) > 1 else " is") + " there still"
        if there
        else "neither is there still"
    )


def gained_most(results: Results, method: str) -> dict[str, float]:
    """Return the layer that momentum moves furthest relative to SGD, and how many times as far."""
    _, further = slow_layers(results, method)
    return {"layer": int(np.argmax(further)) + 1, "times": float(further.max())}


def gained_least(results: Results, method: str) -> dict[str, float]:
    """Return the layer that momentum moves least far relative to SGD, and how many times as far."""
    _, further = slow_layers(results, method)
    return {"layer": int(np.argmin(further)) + 1, "times": float(further.min())}


def rank_of(results: Results, method: str) -> float:
    """Return the rank correlation of the gradient that layers get and what they gain."""
    return slowness(*slow_layers(results, method))


def at_the_end(results: Results) -> str:
    """Name the scales whose best learning rate is the largest that was tried."""
    etas = METHODS["0.99N"].etas[: results["amount"]["rates"]]
    there = [WRITTEN[scale] for scale, found in results["scales"].items() if float(found["eta"]) == max(etas)]
    return " and ".join(there) if there else "none"
