"""What a small gradient is not: convergence, nor something that another cost would mend."""

from typing import Any

import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.page import Equation, Figure, Prose, Section
from undertow.studies.curves import layer_curves
from undertow.studies.wording import percent

Results = dict[str, Any]


def convergence(results: Results) -> Section:
    """The same small gradient at the start of a deep network and at the end of training a shallow one."""
    return Section(
        "convergence",
        "A small gradient is not convergence",
        [
            Prose(
                """
                Could the front layers be slow because they are done? A small gradient is what one hopes for at the
                end of training. So set the two side by side: a network with four hidden layers that has not been
                trained at all, and a network with one hidden layer, trained on 1,000 images until its first layer's
                gradient is as small.
                """
            ),
            _convergence(results),
            Prose(_told_apart(results)),
        ],
    )


def costs(results: Results) -> Section:
    """Learning speeds under the quadratic cost and the cross-entropy."""
    return Section(
        "costs",
        "What the cross-entropy mends, and what not",
        [
            Prose(
                """
                Chapter 3 of the book cures a slow start by another cost: with the cross-entropy a saturated output
                neuron no longer learns slowly, because in BP1 the factor $\\sigma'(z^L)$ cancels.
                """
            ),
            Equation(r"\delta^L = (a^L - y)\,\sigma'(z^L) \qquad \text{(quadratic cost)}"),
            Equation(r"\delta^L = a^L - y \qquad \text{(cross-entropy)}"),
            Prose("Does it help the hidden layers? Both costs on the same networks at the start, four hidden layers:"),
            _costs(results),
            Prose(_costs_text(results)),
        ],
    )


def _convergence(results: Results) -> Figure:
    shallow, deep = results["convergence"]["shallow"], results["convergence"]["deep"]
    speed = np.asarray(shallow["speed"])
    rows = layer_curves(speed, range(speed.shape[1]), x="epoch", y="speed")
    deep_speed = np.median(np.asarray(deep["speed"]), 0)
    chart = curves_with_bands(
        rows,
        x="epoch",
        y="speed",
        low="low",
        high="high",
        x_title="epoch of training the shallow network",
        y_title="||δ||",
        band_title="all networks",
        reference=[
            {"epoch": t, "layer": layer, "speed": deep_speed[k]}
            for layer, k in ((1, 0), (2, -1))
            for t in (0, speed.shape[1] - 1)
        ],
        reference_title="the untrained deep network",
    )
    return Figure(
        "convergence-speeds",
        chart,
        "A shallow network in training, a deep one before it",
        "Learning speeds of the hidden layer (1) and the output layer (2) of the network with one hidden layer. Dotted: "
        "first hidden layer and output layer of the network with four, before any training.",
    )


def _told_apart(results: Results) -> str:
    shallow, deep = results["convergence"]["shallow"], results["convergence"]["deep"]
    first, last = (float(np.median(np.asarray(deep["speed"])[:, k])) for k in (0, -1))
    speeds = np.median(np.asarray(shallow["speed"]), 0)
    epoch = int(np.argmin(np.abs(np.log(speeds[:, 0] / first))))
    right = float(np.mean(np.asarray(shallow["accuracy"])[:, epoch]))
    coherence = float(np.median(np.asarray(shallow["coherence"])[:, epoch]))
    return f"""
        After {epoch} epochs the first layers can't be told apart by their gradients: both have
        $\\|\\delta^1\\| \\approx {first:.4f}$. But one network is right on {percent(right, 1)} of its images and the
        other on {percent(float(np.mean(np.asarray(deep["accuracy"]))))}. What differs is the rest. In the converged
        network *all* layers are slow, the output layer too ({speeds[epoch, -1]:.2g}); and it is slow because the
        images' gradients cancel, only {percent(coherence)} of a typical image's gradient survives the average. In the
        untrained one the output layer is in full motion ({last:.2g}) and the images agree
        ({percent(float(np.median(np.asarray(deep["coherence"]))))} survives); the gradient was there and got lost on
        the way.
        """


def _costs(results: Results) -> Figure:
    titles = {"default": "the text's initial weights", "large": "large weights, N(0, 1): saturated neurons"}
    panels = []
    for name, title in titles.items():
        found = results["costs"][name]
        rows = [
            {"depth": l + 1, "speed": m, "low": lo, "high": hi, "cost": cost}
            for cost, speeds in found.items()
            for l, (lo, m, hi) in enumerate(np.quantile(np.asarray(speeds), [0.025, 0.5, 0.975], axis=0).T)
        ]
        chart = curves_with_bands(
            rows,
            x="depth",
            y="speed",
            low="low",
            high="high",
            colour="cost",
            x_title="layer (5 is the output)",
            y_title="||δ||",
            band_title="95 % of networks",
            y_domain=(1e-4, 10),
            title=title,
        )
        panels.append(chart)
    return Figure(
        "costs-speeds",
        panels,
        "The whole curve moves up; its slope stays",
        "Learning speed of every layer at the start, on a logarithmic axis. Median and 95 % of 64 networks.",
    )


def _costs_text(results: Results) -> str:
    faster = {
        name: np.median(np.asarray(c["cross-entropy"]) / np.asarray(c["quadratic"]), axis=0)
        for name, c in results["costs"].items()
    }
    return f"""
        The output layer learns {faster["default"][-1]:.1f} times faster with the cross-entropy, with large weights
        {faster["large"][-1]:.0f} times. So do all hidden layers, because backpropagation passes on in proportion what
        it gets. But the *ratio* between one layer and the next is what it was, and so the front layers stay as far
        behind the back ones as before.
        """
