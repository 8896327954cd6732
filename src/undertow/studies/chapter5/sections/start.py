"""Before any training: neuron by neuron, then one number for each layer."""

from typing import Any

import altair as alt
import numpy as np

from undertow.render.charts import bars
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Equation, Figure, Prose, Section, Table
from undertow.studies.chapter5.book import book
from undertow.studies.chapter5.protocol import HIDDEN
from undertow.studies.statistics import middle, percentile_of
from undertow.studies.wording import layers, span
from undertow.theory import meanfield

Results = dict[str, Any]


def section(results: Results) -> Section:
    """The gradients of single neurons, then the learning speeds of layers, at the start."""
    return Section(
        "start",
        "Looking inside, before training",
        [
            Prose(
                """
                What happens in there? Take the network with two hidden layers as it starts, random and untrained, and
                ask of every hidden neuron how the cost $C$ would change with its bias $b$. This number,
                $\\partial C/\\partial b$, is how fast gradient descent will change that bias, and through it (by the
                equations BP3 and BP4 of backpropagation) the weights that lead into the neuron. It is averaged over
                the first 1,000 training images.
                """
            ),
            _bars(results),
            Prose(
                """
                The bars of the second hidden layer are the taller ones, if not for every neuron then for the layer as
                a whole. Move the slider to see other networks. To compare whole layers, collect the biases' gradients
                of layer $l$ in one vector and take its length. That is the layer's **learning speed**:
                """
            ),
            Equation(
                r"\|\delta^l\| = \left\| \frac{\partial C}{\partial b^l} \right\|",
                spoken="the norm of delta l is the norm of the derivative of C with respect to b l",
            ),
            _speeds(results),
            Prose(_reading(results)),
            _table(results),
            Prose(_theory(results)),
        ],
    )


def _bars(results: Results) -> Figure:
    found = np.asarray(results["initial_bars"]["members"])
    rows = [
        {"network": i + 1, "neuron": k + 1, "layer": l + 1, "gradient": found[i, l, k]}
        for i in range(found.shape[0])
        for l in range(found.shape[1])
        for k in range(found.shape[2])
    ]
    slider = alt.param(
        name="network", value=1, bind=alt.binding_range(min=1, max=len(found), step=1, name="network number ")
    )
    limit = float(np.abs(found).max())
    said: dict[str, Any] = {"x": "neuron", "y": "gradient", "colour": "layer", "x_title": "neuron", "y_title": "∂C/∂b"}
    ours = bars(rows, **said, y_domain=(-limit, limit), title="Our networks")
    ours.layer[0] = ours.layer[0].transform_filter("datum.network == network")
    recorded = [
        {"neuron": k + 1, "layer": l + 1, "gradient": value}
        for l, layer in enumerate(book()["bars"])
        for k, value in enumerate(layer)
    ]
    text = bars(recorded, **said, y_domain=(-limit, limit), title="The text's network, as recorded by its author")
    panels = [ours.add_params(slider), *([text] if results["data"]["name"] == "mnist" else [])]
    return Figure(
        "bars",
        panels,
        "The second hidden layer feels the cost more than the first",
        "∂C/∂b of the first six neurons of each hidden layer of the network with two, at the start.",
    )


def _speeds(results: Results) -> Figure:
    panels = []
    for h in HIDDEN:
        speed = np.asarray(results["initial_speed"][str(h)]["speed"])
        recorded = results["initial_speed"][str(h)]["book"] or []
        rows = [{"layer": l + 1, "speed": v, "network": i} for i, row in enumerate(speed) for l, v in enumerate(row)]
        panels.append(
            dots_with_interval(
                rows,
                value="speed",
                group="layer",
                value_title="||δ||",
                group_title="hidden layer",
                log_x=True,
                x_domain=(5e-4, 1),
                reference=[{"layer": l + 1, "speed": v} for l, v in enumerate(recorded)],
                reference_title="the text's network",
                said={"network": "network"},
                title=layers(h),
                row_height=46,
            )
        )
    return Figure(
        "initial-speeds",
        panels,
        "Each layer starts about five times slower than the next",
        f"Learning speed of every hidden layer of {len(speed)} networks of each depth. "
        "The axis is logarithmic: equal steps are equal factors.",
    )


def _reading(results: Results) -> str:
    always = [
        bool((np.diff(np.asarray(results["initial_speed"][str(h)]["speed"]), axis=1) > 0).all()) for h in HIDDEN[1:]
    ]
    every = "in every single network" if all(always) else "in nearly all networks"
    inside = ""
    if results["initial_speed"]["2"]["book"]:
        inside = " The text's values, from one network each, lie where they should among ours; none was a lucky or an unlucky draw:"
    return f"The order is the same {every}: an earlier layer learns more slowly.{inside}"


def _table(results: Results) -> Table:
    rows: list[list[Any]] = []
    for h in HIDDEN:
        speed = np.asarray(results["initial_speed"][str(h)]["speed"])
        recorded = results["initial_speed"][str(h)]["book"]
        for l, (low, median, high) in enumerate(zip(*middle(speed), strict=True)):
            placed = f"{percentile_of(recorded[l], speed[:, l]):.0f} %" if recorded else None
            text = float(recorded[l]) if recorded else None
            rows.append([f"{layers(h)}, layer {l + 1}", median, span(low, high), text, placed])
    return Table(["network and layer", "median", "95 % of networks", "the text", "networks below the text's"], rows)


def _theory(results: Results) -> str:
    speed = np.asarray(results["initial_speed"]["4"]["speed"])
    ratios = speed[:, 1:] / speed[:, :-1]
    low, median, high = np.quantile(ratios, [0.025, 0.5, 0.975])
    expected = 1 / meanfield.layer_gain("sigmoid", weight_var=1.0, bias_var=1.0)
    return f"""
        Going one layer towards the input costs a factor of {median:.2f} (median; 95 % between {low:.1f} and
        {high:.1f}). This can be predicted without training or even drawing a network. Mean-field theory, which treats
        the neurons of a wide layer as independent, says that each layer multiplies the squared gradient by $\\chi_1$,
        which for sigmoid neurons with these weights is {1 / expected**2:.4f}: a factor of **{expected:.2f}** a layer.
        Why so much is lost is the subject of a [later section](#why).
        """
