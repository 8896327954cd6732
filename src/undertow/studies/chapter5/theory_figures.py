"""Figures and tables of the chapter's page on why gradients are unstable: chains, factors, causes, explosion."""

from typing import Any

import numpy as np

from undertow.formatting import listed, number
from undertow.render.charts import bars as bar_chart
from undertow.render.charts import curves_with_bands, heatmap
from undertow.render.page import Table
from undertow.studies.chapter5.chains import CHAINS
from undertow.studies.chapter5.figures import Charts, speed_dots
from undertow.studies.chapter5.values import disturbed_chain
from undertow.studies.curves import banded
from undertow.studies.study import Results

SHOWN_DEPTHS = (2, 4, 8)


def sigmoid(_results: Results) -> Charts:
    """Draw the sigmoid's derivative."""
    z = np.linspace(-8, 8, 161)
    s = 1 / (1 + np.exp(-z))
    rows = [{"z": a, "value": b, "function": "σ'"} for a, b in zip(z, s * (1 - s), strict=True)]
    return curves_with_bands(
        rows, x="z", y="value", colour="function", x_title="z", y_title="σ'(z)", log_y=False, y_domain=(0, 0.26),
        height=180,
    )  # fmt: skip


def factors(results: Results) -> Charts:
    """Draw the factors of one chain, cut at three depths."""
    found = [f for f in results["chain"]["shown"] if not f["name"].startswith("dC")]
    panels = []
    for neurons in SHOWN_DEPTHS:
        shown = found[: 2 * neurons - 1]
        rows = [{"factor": _lowered(f["name"]), "size": abs(f["value"])} for f in shown]
        title = f"{neurons} neurons: product {number(float(np.prod([f['value'] for f in shown])))}"
        panels.append(bar_chart(rows, x="factor", y="size", x_title="", y_title="size", title=title, height=150))
    return panels


def _lowered(name: str) -> str:
    """Write ``sigmoid'(z_3)`` as the page does."""
    return name.replace("sigmoid", "σ").replace("_", "").translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def products(results: Results) -> Charts:
    """Draw the product of a chain's factors over its length."""
    found = results["chain"]
    rows = [
        {"depth": d, "size": m, "low": lo, "high": hi, "what": "|∂C/∂b₁|"}
        for d, (lo, m, hi) in zip(found["depth"], np.asarray(found["first"]), strict=True)
    ]
    return banded(
        rows, "depth", "size", colour="what", x_title="neurons in the chain", y_title="|∂C/∂b₁|",
        band_title=f"95 % of {CHAINS:,} chains", height=200,
    )  # fmt: skip


def window(_results: Results) -> Charts:
    """Draw the size of one factor over weight and activation."""
    rows = []
    for w in np.linspace(-16, 16, 33):
        for a in np.linspace(-1, 1, 21):
            s = 1 / (1 + np.exp(-w * a))
            rows.append({"weight": round(float(w), 1), "a": round(float(a), 2), "factor": abs(w) * s * (1 - s)})
    return heatmap(
        rows, x="weight", y="a", value="factor", x_title="w", y_title="a − a₀, where z = 0 at a₀",
        value_title="|w σ'|", centre=1.0,
    )  # fmt: skip


def causes(results: Results) -> Charts:
    """Draw what weights and activation do to the gradient at each layer."""
    split = {key: np.asarray(value) for key, value in results["split"].items()}
    both = {
        "weights": split["weights"] * split["alignment_w"],
        "activation": split["activation"] * split["alignment_phi"],
    }
    rows = [
        {"layer ": str(l + 1), "decades": np.median(np.log10(factor[:, l])), "cause": cause}
        for cause, factor in both.items()
        for l in range(factor.shape[1])
    ]
    return bar_chart(
        rows, x="layer ", y="decades", colour="cause", x_title="hidden layer that the gradient arrives at",
        y_title="gain, decades (−1 is a tenth)", height=170,
    )  # fmt: skip


def split(results: Results) -> Table:
    """Multiply one network's learning speeds back from their factors."""
    rows: list[list[Any]] = []
    for l in range(3, -1, -1):
        one = {key: float(np.asarray(value)[0, l]) for key, value in results["split"].items()}
        weights, activation = one["weights"] * one["alignment_w"], one["activation"] * one["alignment_phi"]
        product = one["received"] * weights * activation * one["coherence"]
        numbers = (one["received"], weights, activation, one["coherence"], product, one["speed"])
        rows.append([f"layer {l + 1}", *map(number, numbers)])
    return Table(["", "received", "× weights", "× activation", "× coherence", "= product", "measured"], rows)


def exploding_chain(results: Results) -> Table:
    """Tell the gradients of the chain made to explode, with and without noise."""
    speed = np.asarray(results["chain"]["explosive"]["speed"])
    rows: list[list[Any]] = [
        [f"{j + 1}", float(one), float(other)]
        for j, (one, other) in enumerate(zip(speed, disturbed_chain(results), strict=True))
    ]
    return Table(["neuron", "∂C/∂b, biases exactly right", "with noise of 0.02 on the biases (median)"], rows)


def centred(results: Results) -> Charts:
    """Draw the speeds of sigmoid networks with large weights and centred biases."""
    speed = np.asarray(results["explosion"]["centred_speed"])
    return speed_dots([{"layer": l + 1, "speed": v} for row in speed for l, v in enumerate(row)])


def fates(results: Results) -> Table:
    """Tell what became of the networks made to explode, and of the controls."""
    rows: list[list[Any]] = []
    for name, run in results["explosion"]["runs"].items():
        speed = np.median(np.asarray(run["speed"]), 0)
        steps = [d["mini_batch"] + 1 for d in run["divergences"]]
        when = f"{len(steps)} (by step {max(steps)})" if steps else "0"
        rows.append([name, listed(speed), when, str(len(run["dead"])), str(len(run["finite"]))])
    return Table(["start", "||δ|| of layers 1 to 4", "not finite", "dead", "still learning"], rows)
