"""The opposite: gradients that grow on their way to the front."""

from typing import Any

import numpy as np

from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Figure, Prose, Section, Table
from undertow.render.rows import number
from undertow.studies.wording import listed, percent

Results = dict[str, Any]


def section(results: Results) -> Section:
    """The chain that explodes, a full network whose front learns faster, and networks that end in NaN."""
    return Section(
        "explosion",
        "When it explodes instead",
        [
            Prose(_chain(results)),
            _chain_table(results),
            Prose(
                """
                A full network can be built so too. Give all layers above the first weights from $N(0, 3^2)$ and
                choose every bias such that its neuron's $z$ averages zero, where $\\sigma'$ is largest. Now the order
                of the layers is reversed:
                """
            ),
            _centred(results),
            Prose(
                """
                And explosions end. When a step is so large that the next one is larger still, the numbers leave what
                a computer can hold, and the first NaN spreads through the network in a moment. Below, networks with
                four hidden layers are trained at the chapter's learning rate on up to 2,000 images, from starts of
                different kinds. A network that is lost doesn't stop the others, and the step, the layer and the
                equation in which its first non-finite number appeared are on record.
                """
            ),
            _fates(results),
            Prose(_first_fall(results)),
        ],
    )


def _chain(results: Results) -> str:
    first = float(np.median(np.asarray(results["chain"]["explosive"]["disturbed"])[0]))
    return f"""
        The same product of factors can grow. Take a chain with weights $w = 100$ and choose the biases so that every
        $z$ is 0: then each factor is $100 \\times 1/4 = 25$. It is a balancing act. Noise of 0.02 on the biases, a
        five-thousandth of the weights, and a neuron falls off the top of $\\sigma'$, the next one farther; the gradient
        of the first neuron, thousands before, is then {number(first)} in the median chain.
        """


def _chain_table(results: Results) -> Table:
    found = results["chain"]["explosive"]
    disturbed = np.median(np.asarray(found["disturbed"]), axis=1)
    rows: list[list[Any]] = [
        [f"{j + 1}", float(speed), float(other)]
        for j, (speed, other) in enumerate(zip(np.asarray(found["speed"]), disturbed, strict=True))
    ]
    return Table(["neuron", "∂C/∂b, biases exactly right", "with noise of 0.02 on the biases (median)"], rows)


def _centred(results: Results) -> Figure:
    speed = np.asarray(results["explosion"]["centred_speed"])
    rows = [{"layer": l + 1, "speed": v} for row in speed for l, v in enumerate(row)]
    chart = dots_with_interval(
        rows, value="speed", group="layer", value_title="||δ||", group_title="hidden layer", log_x=True, row_height=46
    )
    falling = float((np.diff(speed, axis=1) < 0).all(1).mean())
    return Figure(
        "centred",
        chart,
        "Large weights and centred biases: the first layer learns fastest",
        f"A sigmoid network before training; the speed falls from layer to layer in {percent(falling)} of {len(speed)} networks.",
    )


def _fates(results: Results) -> Table:
    rows: list[list[Any]] = []
    for name, run in results["explosion"]["runs"].items():
        speed = np.median(np.asarray(run["speed"]), 0)
        steps = [d["mini_batch"] + 1 for d in run["divergences"]]
        when = f"{len(steps)} (by step {max(steps)})" if steps else "0"
        rows.append([name, listed(speed), when, str(len(run["dead"])), str(len(run["finite"]))])
    return Table(
        ["start", "||δ|| of layers 1 to 4", "not finite", "dead", "still learning"],
        rows,
        caption="What became of 20 networks of each kind. Dead: finite, but no gradient at all reaches any hidden layer",
        id="fates",
        stacked=True,
    )


def _first_fall(results: Results) -> str:
    places = [
        f"layer {d['layer']}, {d['equation']}"
        if d["equation"] != "forward"
        else f"layer {d['layer']}, on the way forward"
        for d in results["explosion"]["runs"]["ReLU, N(0, 1)"]["divergences"]
    ]
    if not places:
        return "None of the ReLU networks was lost this time."
    common = max(set(places), key=places.count)
    return f"""
        Of the ReLU networks that were lost, {places.count(common)} of {len(places)} met their first non-finite number
        at {common}. The sigmoid network with the same weights stays finite: its activations and derivatives are
        bounded, and it vanishes rather than explodes. ReLU networks with He's initialisation, which is made to keep
        the gradient's size, and the chapter's own networks are the controls.
        """
