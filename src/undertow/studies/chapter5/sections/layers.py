"""Was each layer really trained? What moved, what progressed, what is missed when it is taken back."""

from typing import Any

import numpy as np

from undertow.render.charts import bars, curves_with_bands
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Figure, Prose, Section, Table
from undertow.render.pictures import pictures
from undertow.studies.chapter5.claims import final_accuracy
from undertow.studies.chapter5.protocol import HIDDEN
from undertow.studies.curves import layer_curves
from undertow.studies.wording import in_full_on_mnist, layers, percent

Results = dict[str, Any]

CONTROL_NAMES = {
    "second of two frozen": "2, one frozen noise",
    "all but the first of four frozen": "4, three frozen noise",
    "extra three start as identity, frozen": "4, three frozen identity",
    "extra three start as identity, trained": "4, three from identity",
}


def section(results: Results) -> Section:
    """Share of progress, distance moved, layers reset, weights as images, and the puzzle's controls."""
    return Section(
        "layers",
        "Are the front layers really frozen?",
        [
            Prose(_progress_text(results)),
            _progress(results),
            Prose(_frozen_or_not(results)),
            _reset(results),
            Prose(_reset_text(results)),
            _moved(results),
            Prose(
                """
                The eye can judge too. Each square below is one neuron of the first hidden layer; its pixels are the
                weights to the pixels of the image. Before training they are noise. A layer that has learned shows
                strokes and edges, with four hidden layers as well as with one.
                """
            ),
            *(_images(results, h) for h in (1, 4)),
            Prose(_puzzle_text(results)),
            _controls(results),
            *([Prose(_puzzle_answer(results))] if in_full_on_mnist(results) else []),
        ],
    )


def _progress_text(results: Results) -> str:
    share = np.median(np.asarray(results["share_of_progress"]["4"]["share"]), 0)
    return f"""
        A learning speed is no measure of what a layer contributes: it depends on how wide the layer is, and on what
        its biases happen to do. A fairer one is the layer's **share of progress**: of the amount by which the next
        step of gradient descent will lower the cost, to first order, the part that is due to this layer's weights and
        biases. The shares of all layers add up to 1.

        In the network with four hidden layers the first two together make {percent(share[0, :2].sum(), 3)} of the
        progress of the first step. After one epoch it is {percent(share[1, :2].sum())}, and of a step at the
        end of training {percent(share[-1, :2].sum())}.
        """


def _frozen_or_not(results: Results) -> str:
    share = np.median(np.asarray(results["share_of_progress"]["4"]["share"]), 0)[:, :2].sum(-1)
    story = (
        "So the front layers are frozen at the start, and only there: once the back layers have found something to pass "
        "back, the front layers take over most of the work. "
        if share[0] < 0.01 and share[-1] > 0.5
        else ""
    )
    return (
        f"{story}Did they get anywhere? A blunt test: take a trained network, put **one** layer back to the weights it "
        "started from, leave the others, and see how much accuracy is lost."
    )


def _progress(results: Results) -> Figure:
    data = results["share_of_progress"]["4"]
    rows = layer_curves(data["share"], data["epoch"], x="epoch", y="share")
    chart = curves_with_bands(
        rows,
        x="epoch",
        y="share",
        low="low",
        high="high",
        x_title="epoch",
        y_title="share of progress",
        band_title="all networks",
        y_domain=(1e-6, 1),
    )
    return Figure(
        "progress",
        chart,
        "Each layer's share of progress through training",
        "Share of progress of each layer of the network with four hidden layers in a step of descent on the first 1,000 images, before "
        "training and after epochs of it; layer 5 is the output. Median and range of our networks.",
    )


def _reset(results: Results) -> Figure:
    panels = []
    for h in HIDDEN:
        rows = [
            {"layer": l + 1, "lost": 100 * value, "put back to": name}
            for name, key in (("its start", "accuracy_lost"), ("fresh noise", "accuracy_lost_fresh"))
            for l, value in enumerate(np.asarray(results["reset"][str(h)][key]).mean(0))
        ]
        panels.append(
            bars(
                rows,
                x="layer",
                y="lost",
                colour="put back to",
                x_title="layer put back",
                y_title="points of accuracy lost",
                y_domain=(0, 100),
                title=layers(h),
                height=150,
            )
        )
    return Figure(
        "reset",
        panels,
        "What is lost when one layer is put back",
        "Validation accuracy lost when one layer of a trained network is set to the weights it started from, or to random ones "
        "that have nothing to do with it. The last layer is the output. Mean over our networks.",
    )


def _reset_text(results: Results) -> str:
    lost = 100 * np.asarray(results["reset"]["4"]["accuracy_lost"]).mean(0)
    right = final_accuracy(results, 4).mean()
    return f"""
        The first of four hidden layers, put back to its start, costs {lost[0]:.0f} of the network's {right:.0f} points.
        How far have the layers moved, measured by the length of their initial weights?
        """


def _moved(results: Results) -> Table:
    rows: list[list[Any]] = []
    for h in HIDDEN:
        moved = np.median(np.asarray(results["moved"][str(h)]), 0)
        said = [f"{distance:.1f}" for distance in moved]
        rows.append([layers(h), *said[:-1], *[None] * (max(HIDDEN) - h), said[-1]])
    return Table(
        ["network", "layer 1", "layer 2", "layer 3", "layer 4", "output"],
        rows,
        caption="How far each layer's weights end from where they started, in lengths of their initial weights (median)",
        id="moved",
    )


def _images(results: Results, hidden: int) -> Figure:
    before, after = np.asarray(results["first_layer"][str(hidden)])
    height, width = results["data"]["image_shape"]
    limit = float(np.quantile(np.abs(after), 0.995))
    panels = [
        pictures(weights.reshape(-1, height, width), limit=limit, columns=6, cell=50, title=title)
        for weights, title in ((before, "before training"), (after, "after"))
    ]
    title = f"The first layer of a network with {layers(hidden)}"
    return Figure(f"weights-{hidden}", panels, title, "All 30 neurons of network 1.")


def _puzzle_text(results: Results) -> str:
    return f"""
        This leaves a puzzle from the text. Suppose the extra layers of the deep network did *not* learn. Why should
        that hurt? A layer that learns nothing leaves the others to do what they did without it, and they reached
        {final_accuracy(results, 1).mean():.2f} % alone. So try it: freeze the extra layers on purpose. Freeze them
        where they happened to start, at random; or freeze them where they nearly pass on what they get, as
        $\\sigma(4a - 2) \\approx a$; or start them there and let them learn.
        """


def _controls(results: Results) -> Figure:
    groups = {"1 hidden layer": final_accuracy(results, 1), "4 hidden layers": final_accuracy(results, 4)}
    for name, accuracy in results["controls"].items():
        groups[CONTROL_NAMES[name]] = 100 * np.asarray(accuracy)[:, -1]
    rows = [{"network": name, "wrong": 100 - a} for name, values in groups.items() for a in values]
    chart = dots_with_interval(
        rows,
        value="wrong",
        group="network",
        log_x=True,
        value_title="validation images wrong, %",
        group_title="",
        row_height=44,
    )
    table = [{"network": name, "right, mean %": f"{np.mean(v):.2f}"} for name, v in groups.items()]
    return Figure(
        "controls",
        chart,
        "Idle layers, at random and near the identity",
        "Every dot is a network after its last epoch, the training the same for all. In those with extra layers the first "
        "hidden layer learns always; the others stay at their random start, or near the identity, or start there and learn.",
        table=table,
    )


def _puzzle_answer(results: Results) -> str:
    def mean(control: str) -> float:
        return float(100 * np.asarray(results["controls"][control])[:, -1].mean())

    four = final_accuracy(results, 4).mean()
    return f"""
        The puzzle's hidden assumption is that a layer which learns nothing passes everything on. A random sigmoid
        layer does not: three of them squeeze what the first layer found until
        {mean("all but the first of four frozen"):.0f} % is all that can be read from it. Three idle layers near the
        identity cost little ({mean("extra three start as identity, frozen"):.2f} %). And the same deep network,
        started near the identity and trained as before, reaches {mean("extra three start as identity, trained"):.2f}
        %, where from a random start it reached {four:.2f} %. What was wrong with the deep network was not its depth
        but its start: the idea behind residual networks (He et al. 2016), in which every layer begins close to the
        identity.
        """
