"""The figures and tables of the study's page, each named as in `article.md`."""

from functools import partial
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import ArrayLike

from undertow.render.charts import heatmap, histogram
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Table
from undertow.render.pictures import pictures
from undertow.studies.curves import banded, layer_curves, member_curve
from undertow.studies.glorot2010.claims import Array, sources, test_error, trained
from undertow.studies.glorot2010.config import COMPARED, CONFIGURATIONS, PAPER_ERROR, SHAPES
from undertow.studies.glorot2010.plan import STARTS
from undertow.studies.study import Results

Charts = list[alt.LayerChart]

COSTS = ("log-likelihood", "quadratic")
FLOOR = 1e-3
"""Steepness that what is less steep is drawn with."""

SIGMOIDS = {"sigmoid, 4 layers": "4 hidden layers", "sigmoid": "5 hidden layers"}
OTHERS = {"tanh": "tanh", "softsign": "softsign"}
TANHS = {"tanh": "tanh, standard", "tanh N": "tanh, normalised"}


def shapes(results: Results) -> alt.Chart:
    """Show two shapes of each class."""
    shown = results["shown"]
    return pictures(shown["images"], names=shown["names"], grey=True, limit=1.0, columns=9, cell=66)


def layer_panels(
    results: Results, networks: dict[str, str], what: str, y_title: str, linear: bool = True, **given: Any
) -> Charts:
    """Draw curves of every layer through training, a panel for each source of images and each of the networks.

    Args:
        results: of the study.
        networks: name of a network -> what its panels call it.
        what: the measure that is drawn, named ``y_title``.
        y_title: what it is called.
        linear: whether its axis is.
        given: further arguments of the chart.
    """
    panels = []
    for source, called in sources(results).items():
        for name, told in networks.items():
            examples = results["training"][source][name]["examples"]
            rows = layer_curves(trained(results, source, name, what), examples, x="examples", y=what)
            panels.append(
                banded(
                    rows, "examples", what, x_title="images trained on", y_title=y_title, log_x=True, log_y=not linear,
                    title=f"{told}, {called}", height=190, **given,
                )
            )  # fmt: skip
    return panels


sigmoid_means = partial(layer_panels, networks=SIGMOIDS, what="mean", y_title="mean activation", y_domain=(0, 1))
sigmoid_sds = partial(layer_panels, networks=SIGMOIDS, what="sd", y_title="standard deviation")
saturated = partial(layer_panels, networks=OTHERS, what="ended", y_title="saturated share", y_domain=(0, 1))
other_sds = partial(layer_panels, networks=OTHERS, what="sd", y_title="standard deviation")
weight_gradients_later = partial(
    layer_panels, networks=TANHS, what="weight_gradient", y_title="rms ∂C/∂w", linear=False
)
singular_later = partial(layer_panels, networks=TANHS, what="singular", y_title="mean singular value")


def _error_panels(results: Results, networks: dict[str, str], **given: Any) -> Charts:
    panels = []
    for source, called in sources(results).items():
        rows: list[dict[str, Any]] = []
        for name, told in networks.items():
            wrong, examples = (
                100 * trained(results, source, name, "error"),
                results["training"][source][name]["examples"],
            )
            rows += member_curve(wrong, examples, x="examples", y="wrong", network=told)
        panels.append(
            banded(
                rows, "examples", "wrong", colour="network", log_x=True, x_title="images trained on", title=called,
                **given,
            )
        )  # fmt: skip
    return panels


sigmoid_errors = partial(
    _error_panels, networks=SIGMOIDS, y_title="wrong, %", log_y=False, height=190, y_domain=(0, 100)
)
error_curves = partial(_error_panels, networks={n: n for n in COMPARED}, y_title="validation images wrong, %")


def _histograms(results: Results, what: str, x_title: str) -> Charts:
    panels = []
    for kind in STARTS:
        values = np.asarray(results["start"][kind]["samples"][what], float)
        first = 2 if what == "weight_gradient" else 1
        limit = 1.0 if what == "activation" else float(np.quantile(np.abs(values), 0.97))
        rows = [
            {"layer": l, what: v} for l, layer in enumerate(values, 1) for v in layer if abs(v) <= limit and l >= first
        ]
        y_title = "units seen" if what != "weight_gradient" else "weights seen"
        panels.append(
            histogram(
                rows, value=what, x_title=x_title, y_title=y_title, colour="layer", bins=61, title=f"{kind} start"
            )
        )
    return panels


activations = partial(_histograms, what="activation", x_title="activation of single units on single images")
gradients = partial(_histograms, what="delta", x_title="∂C/∂z of single units on single images")
weight_gradients = partial(_histograms, what="weight_gradient", x_title="∂C/∂w of single weights on single images")


def sizes(results: Results) -> Table:
    """Tell the sizes of signals and gradients, layer by layer, from both starts."""
    rows: list[list[Any]] = []
    for kind in STARTS:
        for what, told in (("sd", "activations"), ("delta", "∂C/∂z"), ("weight_gradient", "∂C/∂w")):
            found = np.median(np.asarray(results["start"][kind][what], float), 0)
            rows.append([f"{kind}: {told}", *(f"{v:.2f}" for v in found / found[-1])])
    return Table(["start and signal", *(f"layer {l}" for l in range(1, len(rows[0])))], rows)


def test_errors(results: Results) -> Charts:
    """Draw every network's test error, the paper's beside it."""
    panels = []
    for source, called in sources(results).items():
        rows = [{"network": n, "error": float(e)} for n in CONFIGURATIONS for e in test_error(results, source, n)]
        errors = PAPER_ERROR["Shapeset"] if source == SHAPES else PAPER_ERROR["MNIST"] if source == "mnist" else {}
        paper = [{"network": n, "error": e} for n, e in errors.items()]
        panels.append(
            dots_with_interval(
                rows, value="error", group="network", value_title="test images wrong, %", group_title="network",
                reference=paper, reference_title="the paper, 5 × 1,000",
                title=called, log_x=True, row_height=44,
            )
        )  # fmt: skip
    return panels


def test_error_table(results: Results) -> Table:
    """Tell the test errors, ours beside the paper's."""
    rows: list[list[Any]] = []
    for name in CONFIGURATIONS:
        errors = [test_error(results, source, name) for source in sources(results)]
        paper = [PAPER_ERROR[data].get(name) for data in ("MNIST", "Shapeset", "CIFAR-10", "ImageNet, small")]
        rows.append([name, *(f"{e.mean():.2f} ± {e.std(ddof=1):.2f}" for e in errors), *paper])
    ours = [f"here: {called.removeprefix('our ')}" for called in sources(results).values()]
    return Table(["network", *ours, "paper: MNIST", "Shapeset", "CIFAR-10", "ImageNet"], rows)


def wrong_corner(gradient: ArrayLike) -> float:
    """Return how steep a cost is where the first weight is most negative and the second most positive."""
    steepness = np.asarray(gradient, float)
    return float(steepness[-1, 0] / steepness.max())


def cost_surfaces(results: Results) -> Charts:
    """Draw both costs over the plane of two weights."""
    costs = {name: np.asarray(results["surface"][name]["cost"], float) for name in COSTS}
    return [_plane(results, (c - c.min()) / np.ptp(c), name, "cost", log=False) for name, c in costs.items()]


def surfaces(results: Results) -> Charts:
    """Draw how steep both costs are over the plane of two weights."""
    steep = {name: np.asarray(results["surface"][name]["gradient"], float) for name in COSTS}
    return [_plane(results, np.maximum(s / s.max(), FLOOR), name, "steepness", log=True) for name, s in steep.items()]


def _plane(results: Results, values: Array, name: str, value_title: str, log: bool) -> alt.LayerChart:
    """Draw every third point of the plane as a coloured cell."""
    w = [f"{each:.1f}".replace("-", "−") for each in np.asarray(results["surface"]["w"])]
    kept = range(0, len(w), 3)
    rows = [{"w1": w[j], "w2": w[i], "value": values[i, j]} for i in kept for j in kept]
    return heatmap(
        rows, x="w1", y="w2", value="value", x_title="weight of the first layer", y_title="weight of the second",
        value_title=value_title, log=log, title=name, height=280,
    )  # fmt: skip
