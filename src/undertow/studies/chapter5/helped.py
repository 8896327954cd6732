"""Show what the doctor found to help the chapter's deepest network: recorded, as the book's own numbers are."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.figures import Charts
from undertow.render.page import Table
from undertow.studies.study import Results

RACED = 10
"""Remedies and pairs of the race that the table shows."""


def treatment() -> dict[str, Any]:
    """Read what the doctor said: a treatment as JSON, thinned, with the command that made it.

    Example:
        >>> treatment()["verdict"], treatment()["command"].split()[:2]
        ('repaired', ['undertow', 'doctor'])
    """
    return _recorded()


@cache
def _recorded() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(files(__package__).joinpath("treatment.json").read_text("utf-8"))
    return told


def helped_names() -> str:
    """Name what was confirmed to help.

    Example:
        >>> helped_names()
        'another activation, with the start it needs (to relu) and Adam at its own learning rate (lr 0.001)'
    """
    return " and ".join(each["name"] for each in treatment()["remedies"])


def helped_scores() -> tuple[float, float, float, float]:
    """Return per cent right before and after, and the interval of the difference in points.

    Example:
        >>> [round(each, 1) for each in helped_scores()]
        [10.2, 91.8, 80.6, 82.6]
    """
    best = treatment()["comparisons"][0]
    low, high = best["interval"]
    return 100 * float(np.mean(best["control"])), 100 * float(np.mean(best["treated"])), 100 * low, 100 * high


def helped_decades() -> tuple[float, float]:
    """Return the decades of gradient from the loss to the front, before and after, on models that aren't trained.

    Example:
        >>> [round(each, 1) for each in helped_decades()]
        [-2.9, 0.1]
    """
    before, after = (way[-1][1] for way in treatment()["gradient"].values())
    return before, after


def helped_loss(results: Results) -> Charts:
    """Draw the loss before and after."""
    del results
    told, charts = treatment(), []
    curves = {name: np.asarray(each, float) for name, each in told["curves"].items()}
    bounds = (min(float(each.min()) for each in curves.values()), max(float(each.max()) for each in curves.values()))
    for name, each in curves.items():
        steps = np.linspace(1, told["steps"], each.shape[1])
        rows = [
            {"step": float(s), "of": "loss", "loss": float(c.mean()), "low": float(c.min()), "high": float(c.max())}
            for s, c in zip(steps, each.T, strict=True)
        ]
        charts.append(
            curves_with_bands(
                rows, x="step", y="loss", low="low", high="high", colour="of", x_title="update", y_title="loss",
                band_title="lowest to highest of the networks", title=name, y_domain=bounds,
            )
        )  # fmt: skip
    return charts


def helped_race(results: Results) -> Table:
    """List what was tried, the best first."""
    del results
    tried = [each for each in treatment()["attempts"] if each["scores"]]
    ranked = sorted(tried, key=lambda each: -min(each["scores"]))[:RACED]
    return Table(
        ["what was tried", "validation images right, %", "how far it came"],
        [[_named(each), _told(each["scores"]), each["stage"]] for each in ranked],
    )


def _named(attempt: dict[str, Any]) -> str:
    return " + ".join(f"{each['code']} {each['name']}" for each in attempt["remedies"])


def _told(scores: list[float]) -> str:
    return ", ".join(f"{100 * score:.0f}" for score in scores)
