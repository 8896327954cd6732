"""Two costs over the same two weights."""

import altair as alt
import numpy as np
from numpy.typing import ArrayLike

from undertow.render.charts import heatmap
from undertow.render.page import Figure, Prose, Section
from undertow.studies.glorot2010.claims import Array
from undertow.studies.study import Results
from undertow.studies.wording import percent

FLOOR = 1e-3
"""What is less steep is drawn like this."""


def section(results: Results) -> Section:
    """The quadratic cost has plateaus."""
    found = results["surface"]
    flat = {name: found[name]["flat"] for name in ("log-likelihood", "quadratic")}
    corner = {name: wrong_corner(found[name]["gradient"]) for name in flat}
    return Section(
        "costs",
        "A cost with plateaus",
        [
            Prose(
                """
                **The paper found** one more obstacle in the cost itself: over two weights, one of each layer, the quadratic cost
                shows plateaus where the log-likelihood still slopes. **Method**, here: a network of one tanh unit and one
                output, random inputs with their sign as the class (one in five mistaken), every point of the plane a
                network of its own.
                """
            ),
            Figure(
                "cost-surfaces",
                [_cost(results, name) for name in ("log-likelihood", "quadratic")],
                "Two costs over the same two weights",
                "From the least value on the plane (0) to the greatest (1).",
            ),
            Figure(
                "surfaces",
                [_surface(results, name) for name in ("log-likelihood", "quadratic")],
                "How steep each cost is over two weights",
                "Length of the gradient relative to its largest on the plane, on a logarithmic scale that ends at a thousandth.",
            ),
            Prose(
                f"""
                **Here** the gradient is under a hundredth of its largest on {percent(flat["quadratic"])} of the quadratic cost's plane and
                on {percent(flat["log-likelihood"])} of the log-likelihood's. Most of that lies where the weights agree in sign and the output
                is right but for the mistaken fifth, which the quadratic cost gives up and the log-likelihood doesn't. The plateau that hurts is
                opposite, where the output is wrong and sure of itself: in that corner the log-likelihood is still
                {percent(corner["log-likelihood"])} as steep as at its steepest, and the quadratic cost, whose gradient has a factor
                $\\varphi'$ that is nearly 0 there, {percent(corner["quadratic"], 1)}.
                """
            ),
        ],
    )


def wrong_corner(gradient: ArrayLike) -> float:
    """How steep a cost is in the corner where the first weight is most negative and the second most positive."""
    steepness = np.asarray(gradient, float)
    return float(steepness[-1, 0] / steepness.max())


def _cost(results: Results, name: str) -> alt.LayerChart:
    cost = np.asarray(results["surface"][name]["cost"], float)
    return _plane(results, (cost - cost.min()) / np.ptp(cost), name, "cost", log=False)


def _surface(results: Results, name: str) -> alt.LayerChart:
    gradient = np.asarray(results["surface"][name]["gradient"], float)
    return _plane(results, np.maximum(gradient / gradient.max(), FLOOR), name, "steepness", log=True)


def _plane(results: Results, values: Array, name: str, value_title: str, log: bool) -> alt.LayerChart:
    """Every third point of the plane as a coloured cell."""
    w = [f"{each:.1f}".replace("-", "−") for each in np.asarray(results["surface"]["w"])]
    kept = range(0, len(w), 3)
    rows = [{"w1": w[j], "w2": w[i], "value": values[i, j]} for i in kept for j in kept]
    return heatmap(
        rows, x="w1", y="w2", value="value", x_title="weight of the first layer", y_title="weight of the second",
        value_title=value_title, log=log, title=name, height=280,
    )  # fmt: skip
