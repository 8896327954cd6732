"""What is asked, and how activations move while networks learn."""

from typing import Any

import altair as alt
import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.page import Callout, Figure, Prose, Section
from undertow.render.pictures import pictures
from undertow.studies.curves import member_curve
from undertow.studies.glorot2010.claims import saturated_from, sources, told_saturation, trained
from undertow.studies.glorot2010.protocol import CONFIGURATIONS
from undertow.studies.glorot2010.sections.figures import layer_panels
from undertow.studies.study import Results

WORDS = """
The **activation function** $\\varphi$ turns what a unit is given, $z$, into what it passes on, $a = \\varphi(z)$. The **sigmoid** runs
from 0 to 1, **tanh** from −1 to 1, and **softsign**, $z / (1 + |z|)$, too, but it gets there far more slowly. A unit is
**saturated** near an end of that range, where $\\varphi$ is flat: here, within a fortieth of the range. Little gradient passes through such a
unit. The **standard start** draws weights uniformly from $\\pm 1/\\sqrt{n}$, where $n$ counts a unit's inputs; the
**normalised start** from $\\pm \\sqrt{6} / \\sqrt{n_{in} + n_{out}}$. Biases start at 0. **N** marks a network that started normalised.
"""


def question(results: Results) -> Section:
    """The experiment in short, and what the images look like."""
    shown = results["shown"]
    return Section(
        "question",
        "What was asked",
        [
            Prose(
                """
                Why does gradient descent from random weights do so poorly in deep networks? The paper trains networks of
                one to five hidden layers with three activation functions and two ways to draw the first weights, on
                four data sets, and looks at every layer on the way. Two of the four are repeated here: a data set of
                digits, and images of shapes drawn without end, so that no network can learn them by heart.
                """
            ),
            Figure(
                "shapes",
                pictures(shown["images"], names=shown["names"], grey=True, limit=1.0, columns=9, cell=66),
                "One or two shapes; which?",
                "Two of our images of each of the nine classes. Place, size, proportions, angle and grey level are random; "
                "at most half of the smaller shape is covered.",
            ),
            Callout("Words used here", WORDS),
        ],
    )


def sigmoid(results: Results) -> Section:
    """The last hidden layer goes to zero, and perhaps comes back."""
    networks = {"sigmoid, 4 layers": "4 hidden layers", "sigmoid": "5 hidden layers"}
    return Section(
        "sigmoid",
        "The sigmoid switches its last layer off",
        [
            Prose(
                """
                **Method.** Every network is looked at on 300 images that it is never trained on, at steps that grow by a
                factor. For each hidden layer: the mean activation over its units and those images.

                **The paper found** that in networks of sigmoids the mean of the last hidden layer goes to 0 “very quickly at
                the beginning”, while the other layers lie above one half, the lower the nearer to the input. With four
                hidden layers that regime is left after a long time, with five it never was. That was on Shapeset; on MNIST its network of
                five layers, which ends with an error of 2.21 %, must have left it, too.
                """
            ),
            Figure(
                "sigmoid-means",
                layer_panels(results, networks, "mean", "mean activation", log_y=False, y_domain=(0, 1)),
                "The last hidden layer falls to 0 at once",
                "Mean activation of every hidden layer on images held out; median over the networks and the range of all.",
            ),
            Prose(_sigmoid_found(results)),
            Figure(
                "sigmoid-sds",
                layer_panels(results, networks, "sd", "standard deviation", log_y=False),
                "How much activations vary",
                "Standard deviation over a hidden layer's units and images held out; median over the networks and the range of all.",
            ),
            Prose("A layer at 0 varies by next to nothing, whatever is shown. When it comes back, the error falls:"),
            Figure(
                "sigmoid-errors",
                _error_panels(results, tuple(networks)),
                "While it is off, nothing is learnt",
                "Validation images wrong, through the same training; median over the networks and the range of all.",
            ),
            Prose(
                """
                The explanation is the paper's. At first $h$, the last hidden layer, says nothing about the class, so the
                softmax on top does best by what its biases can say, the classes' frequencies, and the cost falls fastest if
                $Wh$ is pushed towards zero. It can be done through $W$ or through $h$. For tanh, $h = 0$ is where units are most
                alive; for the sigmoid it is where they are flat, and no gradient reaches the layers that would have to
                learn something for $h$ to become worth listening to.
                """
            ),
        ],
    )


def _sigmoid_found(results: Results) -> str:
    said = []
    for source, called in sources(results).items():
        for name, layers in (("sigmoid, 4 layers", "four"), ("sigmoid", "five")):
            top = np.median(trained(results, source, name, "mean")[:, :, -1], 0)
            examples = results["training"][source][name]["examples"]
            said.append(
                f"{called}, {layers} layers: down to {top.min():.3f} after {examples[int(top.argmin())]:,} images, "
                f"{top[-1]:.3f} at the end"
            )
    return f"**Here** the last hidden layer's mean goes, on {'; '.join(said)}."


def _error_panels(results: Results, names: tuple[str, ...]) -> list[alt.LayerChart]:
    panels = []
    for source, called in sources(results).items():
        rows: list[dict[str, Any]] = []
        for name in names:
            wrong, examples = (
                100 * trained(results, source, name, "error"),
                results["training"][source][name]["examples"],
            )
            network = f"{CONFIGURATIONS[name].hidden} hidden layers"
            rows += member_curve(wrong, examples, x="examples", y="wrong", network=network)
        panels.append(
            curves_with_bands(
                rows, x="examples", y="wrong", low="low", high="high", colour="network", log_x=True, log_y=False,
                x_title="images trained on", y_title="wrong, %", band_title="all networks", title=called, height=190,
                y_domain=(0, 100),
            )
        )  # fmt: skip
    return panels


def others(results: Results) -> Section:
    """Tanh saturates from the first layer on, softsign hardly."""
    return Section(
        "tanh",
        "Tanh saturates from below, softsign hardly",
        [
            Prose(
                """
                Tanh and softsign are symmetric about 0 and don't get stuck so. **The paper found** that under the standard
                start tanh layers saturate all the same in the course of training, one after the other from the first layer up,
                and says that it doesn't know why; softsign's units stay in the bends between their straight and their flat part.
                """
            ),
            Figure(
                "saturated",
                layer_panels(
                    results,
                    {"tanh": "tanh", "softsign": "softsign"},
                    "ended",
                    "saturated share",
                    log_y=False,
                    y_domain=(0, 1),
                ),
                "How much of each layer has come to an end of its range",
                "Share of a layer's units, over 300 images held out, with |a| above .95. Median over the networks and the range of all.",
            ),
            Prose(_others_found(results)),
            Figure(
                "other-sds",
                layer_panels(
                    results, {"tanh": "tanh", "softsign": "softsign"}, "sd", "standard deviation", log_y=False
                ),
                "How much their activations vary",
                "Standard deviation over a hidden layer's units and images held out; median over the networks and the range of all.",
            ),
        ],
    )


def _others_found(results: Results) -> str:
    said, flat, begun = [], [], []
    for source, called in sources(results).items():
        ended, saturated = (
            {n: np.median(trained(results, source, n, what)[:, -1], 0) for n in ("tanh", "softsign")}
            for what in ("ended", "saturated")
        )
        begun.append(f"{told_saturation(saturated_from(results, source, 'tanh'))} ({called})")
        said.append(
            f"on {called} {100 * ended['tanh'][0]:.0f} % of tanh's first layer and {100 * ended['tanh'][-1]:.0f} % of its last are there "
            f"at the end, of softsign's {100 * ended['softsign'][0]:.0f} and {100 * ended['softsign'][-1]:.0f} %"
        )
        flat.append(
            f"{100 * saturated['softsign'][0]:.0f} % of softsign's first layer and {100 * saturated['tanh'][0]:.0f} % of tanh's on {called}"
        )
    return f"""
        **Here** a fifth of tanh's layers 1 to 5 is there after so many images: {"; ".join(begun)}. And
        {"; ".join(said)}. It depends on what one calls flat, though. Softsign's slope, $(1 - |a|)^2$, has fallen to a tenth at
        $|a| = .68$ already, where tanh's is still more than a half. Counted by that, there are flat
        {" and ".join(flat)}.
        """
