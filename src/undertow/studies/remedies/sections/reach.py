"""How deep each combination trains."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow.render.charts import curves_with_bands, heatmap
from undertow.render.page import Figure, Prose, Section
from undertow.studies.remedies.design import TRAINS, WRITTEN
from undertow.studies.remedies.table import best_accuracy, deepest
from undertow.studies.study import Results
from undertow.studies.wording import percent

FEW = 3
"""So many combinations are named one by one."""


def section(results: Results) -> Section:
    """A map for each activation: architecture by start, the deepest that trains."""
    amount, factors = results["amount"], results["factors"]
    reached = deepest(results)
    panels = []
    for a, activation in enumerate(factors["activation"]):
        rows = [
            {"start": s, "architecture": h, "deepest": int(reached[a, j, :, k].max())}
            for k, s in reversed(list(enumerate(factors["start"])))
            for j, h in enumerate(factors["architecture"])
        ]
        panels.append(
            heatmap(
                rows, x="architecture", y="start", value="deepest", x_title="between the layers", y_title="start",
                value_title="hidden layers, the deepest that train", labels=True, title=WRITTEN[activation], height=190,
            )
        )  # fmt: skip
    return Section(
        "reach",
        "How deep does it train?",
        [
            Prose(
                f"""
                **Method.** Every network gets {amount["updates"]} updates of {amount["batch"]} images each. It *trains* if it then gets {percent(TRAINS)} of
                validation images right, with the best of three learning rates; a guess gets a tenth. For each activation, start and
                architecture: the greatest depth up to which every depth trains, with the best of the optimizers.

                **It is said** that sigmoids don't train deep, that a start at the edge between vanishing and exploding carries plain networks far, that
                norms forgive a bad start, that residual connections train where plain layers don't, and that both together train at any depth.
                """
            ),
            Figure(
                "reach-map",
                panels,
                "The deepest that train",
                f"Hidden layers, of those tried: {', '.join(map(str, factors['depth']))}; 0 where not even the shallowest does. With the optimizer and "
                "learning rate that go deepest.",
            ),
            Prose(_said(results)),
        ],
    )


def _said(results: Results) -> str:
    factors, reached = results["factors"], deepest(results).max(2)
    last = factors["depth"][-1]
    return f"""
        **Here**, combinations of activation and start that train all the way to {last} hidden layers, by what stands between the layers:
        {"; ".join(_all_the_way(factors, h, reached[:, j] == last) for j, h in enumerate(factors["architecture"]))}.
        """


def _all_the_way(factors: Mapping[str, Any], architecture: str, there: np.ndarray) -> str:
    """How many combinations of activation and start, and which if they are few."""
    names = [f"{WRITTEN[factors['activation'][a]]}, {factors['start'][s]}" for a, s in np.argwhere(there)]
    few = f" ({'; '.join(names)})" if 0 < len(names) <= FEW else ""
    return f"{architecture} {len(names)} of {there.size}{few}"


def by_depth(results: Results) -> Section:
    """Accuracy over depth, by architecture."""
    factors, accuracy = results["factors"], best_accuracy(results)
    panels = []
    for a, activation in enumerate(factors["activation"]):
        rows: list[dict[str, Any]] = []
        for j, h in enumerate(factors["architecture"]):
            over = 100 * accuracy[a, j].max(0)  # the best optimizer of each depth and start
            for d, values in zip(factors["depth"], over, strict=True):
                rows.append(
                    {"depth": d, "between": h, "right": np.median(values), "low": values.min(), "high": values.max()}
                )
        panels.append(
            curves_with_bands(
                rows, x="depth", y="right", low="low", high="high", colour="between", x_title="hidden layers",
                y_title="right, %", band_title="all starts", log_x=True, log_y=False, y_domain=(0, 100), title=WRITTEN[activation], height=210,
            )
        )  # fmt: skip
    return Section(
        "depth",
        "What depth costs",
        [
            Prose(
                """
                The same in accuracies: the middle one of the five starts, and the range of all five, each with its best optimizer and
                learning rate. A narrow band means that the start matters little.
                """
            ),
            Figure(
                "accuracy-by-depth",
                panels,
                "Accuracy after few updates, by depth",
                "Validation images right, per cent.",
            ),
        ],
    )
