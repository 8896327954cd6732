"""Deeper should be better: how well the four networks classify."""

from typing import Any

import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Callout, Figure, Prose, Section, Table
from undertow.studies.chapter5.claims import final_accuracy
from undertow.studies.chapter5.protocol import BATCH_SIZE, ETA, HIDDEN, LMBDA
from undertow.studies.statistics import between_and_within, compare, interval
from undertow.studies.wording import in_full_on_mnist, layers, signed

Results = dict[str, Any]

WORDS = """
**The text** is chapter 5 of Nielsen's book. The **cost** $C$ says how wrong the network's outputs are; the
*cross-entropy* is the usual one. Its **gradient** says how to change every weight and bias to lower it, and
**gradient descent** does so in small steps, each from the images of one *mini-batch*; a pass over all images is an
*epoch*. **Weight decay** shrinks all weights a little at every step. $\\delta^l$ is the gradient of the cost with
respect to what the neurons of layer $l$ are given, and also (BP3 of the book's chapter 2) with respect to their
biases; $\\|\\delta^l\\|$ is its length. Backpropagation works it out from the last layer to the first.
"""


def section(results: Results) -> Section:
    """The accuracies of four depths, and whether their differences are more than luck."""
    return Section(
        "accuracy",
        "Deeper should be better",
        [
            Prose(_opening(results)),
            Callout("Words used here", WORDS),
            _accuracies(results),
            Prose(_verdict(results)),
            _steps(results),
            Prose(
                "The curves tell more than their ends: how soon a network begins to learn at all."
                + _curves_say(results)
            ),
            _curves(results),
        ],
    )


def _opening(results: Results) -> str:
    n = len(np.asarray(results["accuracy"]["1"]["validation"])[0])
    return f"""
        Chapter 5 starts with a small experiment. Take a network that classifies images, with one hidden layer
        of 30 sigmoid neurons. Add a second hidden layer, a third, a fourth, and change nothing else: cross-entropy
        cost, mini-batches of {BATCH_SIZE}, learning rate $\\eta = {ETA}$, weight decay $\\lambda = {LMBDA:g}$, {n}
        passes over 50,000 images. A deeper network can express all that a shallow one can, and more. Does it do
        better?

        The text trained one network of each depth. Here are {results["members"]}, which start from different random
        weights and see the same mini-batches in the same order.
        """


def _curves_say(results: Results) -> str:
    if not in_full_on_mnist(results):
        return ""
    return (
        " After one pass over the data the network with four hidden layers has hardly begun; its front layers receive "
        "almost no gradient. It catches up, late, and never quite."
    )


def _best(results: Results) -> str:
    means = [final_accuracy(results, h).mean() for h in HIDDEN]
    return f"The best mean is that of {layers(HIDDEN[int(np.argmax(means))])}"


def _accuracies(results: Results) -> Figure:
    rows = [
        {"hidden layers": h, "accuracy": a, "member": i}
        for h in HIDDEN
        for i, a in enumerate(final_accuracy(results, h))
    ]
    book = [
        {"hidden layers": h, "accuracy": results["accuracy"][str(h)]["book"]}
        for h in HIDDEN
        if results["accuracy"][str(h)]["book"] and not results["quick"]
    ]
    chart = dots_with_interval(
        rows,
        value="accuracy",
        group="hidden layers",
        value_title="validation images right, %",
        group_title="hidden layers",
        reference=book,
        reference_title="the text's network",
        said={"member": "network"},
    )
    return Figure(
        "accuracies",
        chart,
        _best(results),
        "Every dot is a network after its last epoch; the bar under the dots spans 95 % of them, its notch is the median.",
        table=Table.of(_summary(results, h) for h in HIDDEN),
    )


def _summary(results: Results, hidden: int) -> dict[str, Any]:
    last = final_accuracy(results, hidden)
    test = 100 * np.asarray(results["accuracy"][str(hidden)]["test"])[:, -1]
    low, high = interval(last)
    return {
        "hidden layers": str(hidden),
        "validation, mean %": f"{last.mean():.2f}",
        "95 % interval of the mean": f"{low:.2f} to {high:.2f}",
        "test, mean %": f"{test.mean():.2f}",
        "the text": f"{results['accuracy'][str(hidden)]['book'] or '-'}",
        "every network": ", ".join(f"{a:.2f}" for a in last),
    }


def _verdict(results: Results) -> str:
    p = between_and_within([final_accuracy(results, h) for h in HIDDEN])
    if not np.isfinite(p):
        return "With so few networks no test can tell depth from luck."
    differ = "differ by more than their seeds do" if p < 0.05 else "don't differ by more than their seeds do"
    return f"""
        **Is that depth, or luck?** A test asks whether the four groups differ by more than networks within a group
        differ among themselves (Welch's analysis of variance): $p = {p:.2g}$, so the depths {differ}. Step by step,
        with the 95 % confidence interval of each difference of means:
        """


def _steps(results: Results) -> Table:
    rows = []
    for a, b in ((1, 2), (2, 3), (3, 4), (1, 4)):
        step = compare(final_accuracy(results, a), final_accuracy(results, b))
        interval_of = f"{signed(step.low)} to {signed(step.high)}" if np.isfinite(step.low) else None
        rows.append([f"from {a} to {b} hidden layers", f"{signed(step.mean)} points", interval_of, step.said])
    return Table(["step", "change of the mean", "95 % interval", "so"], rows)


def _curves(results: Results) -> Figure:
    rows = []
    for h in HIDDEN:
        wrong = 100 - 100 * np.asarray(results["accuracy"][str(h)]["validation"])
        for epoch, values in enumerate(wrong.T, 1):
            ends = {"low": values.min(), "high": values.max()}
            rows.append({"epoch": epoch, "hidden layers": f"{h} hidden", "wrong": np.median(values), **ends})
    chart = curves_with_bands(
        rows,
        x="epoch",
        y="wrong",
        low="low",
        high="high",
        colour="hidden layers",
        x_title="epoch",
        y_title="validation images wrong, %",
        band_title="all networks",
    )
    return Figure(
        "accuracy-curves",
        chart,
        "Errors through training",
        "Median over the networks, and the range of all of them. The axis is logarithmic.",
    )
