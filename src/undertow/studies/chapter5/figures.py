"""Figures and tables of the chapter's page on how networks learn, each named as in `article.md`."""

import json
from functools import cache, partial
from importlib.resources import files
from typing import Any

import altair as alt
import numpy as np

from undertow.formatting import counted, number, percent, signed, span
from undertow.render.charts import bars as bar_chart
from undertow.render.dot_charts import dots_with_interval
from undertow.render.page import Table
from undertow.render.pictures import pictures
from undertow.studies.chapter5.claims import final_accuracy
from undertow.studies.chapter5.config import HIDDEN
from undertow.studies.chapter5.values import speeds
from undertow.studies.curves import banded, layer_curves
from undertow.studies.statistics import compare, interval, middle, percentile_of
from undertow.studies.study import Results

Charts = alt.LayerChart | list[Any]

CONTROL_NAMES = {
    "second of two frozen": "2, one frozen noise",
    "all but the first of four frozen": "4, three frozen noise",
    "extra three start as identity, frozen": "4, three frozen identity",
    "extra three start as identity, trained": "4, three from identity",
}


@cache
def book() -> dict[str, Any]:
    """Read what the book's author recorded: source; bars [2][6]; descent with its step and speed [steps][2] (thinned).

    Example:
        >>> book()["descent"]["speed"][0]
        [0.065741, 0.30922]
    """
    recorded: dict[str, Any] = json.loads(files(__package__).joinpath("book.json").read_text("utf-8"))
    return recorded


def depth(hidden: int) -> str:
    """Name a network by its depth."""
    return counted(hidden, "hidden layer")


def accuracies(results: Results) -> tuple[Charts, Table]:
    """Draw every network's accuracy by depth, the numbers in a table."""
    rows = [
        {"hidden layers": h, "accuracy": a, "member": i}
        for h in HIDDEN
        for i, a in enumerate(final_accuracy(results, h))
    ]
    recorded = {h: results["accuracy"][str(h)]["book"] for h in HIDDEN}
    shown = [{"hidden layers": h, "accuracy": a} for h, a in recorded.items() if a and not results["quick"]]
    chart = dots_with_interval(
        rows, value="accuracy", group="hidden layers", value_title="validation images right, %",
        group_title="hidden layers", reference=shown, reference_title="the text's network",
        details={"member": "network"},
    )  # fmt: skip
    return chart, Table.of(_summary(results, h) for h in HIDDEN)


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


def steps(results: Results) -> Table:
    """Tell the change of accuracy from depth to depth."""
    rows = []
    for a, b in ((1, 2), (2, 3), (3, 4), (1, 4)):
        step = compare(final_accuracy(results, a), final_accuracy(results, b))
        ends = f"{signed(step.low)} to {signed(step.high)}" if np.isfinite(step.low) else None
        rows.append([f"from {a} to {b} hidden layers", f"{signed(step.mean)} points", ends, step.said])
    return Table(["step", "change of the mean", "95 % interval", "so"], rows)


def accuracy_curves(results: Results) -> Charts:
    """Draw the errors of every depth through training."""
    rows = []
    for h in HIDDEN:
        wrong = 100 - 100 * np.asarray(results["accuracy"][str(h)]["validation"])
        for epoch, values in enumerate(wrong.T, 1):
            ends = {"low": values.min(), "high": values.max()}
            rows.append({"epoch": epoch, "hidden layers": f"{h} hidden", "wrong": np.median(values), **ends})
    return banded(rows, "epoch", "wrong", colour="hidden layers", x_title="epoch", y_title="validation images wrong, %")


def bars(results: Results) -> Charts:
    """Draw the gradients of single neurons' biases, of a network that a slider chooses."""
    found = np.asarray(results["initial_bars"]["members"])
    rows = [
        {"network": i + 1, "neuron": k + 1, "layer": l + 1, "gradient": found[i, l, k]}
        for i, l, k in np.ndindex(found.shape)
    ]
    choice = alt.binding_range(min=1, max=len(found), step=1, name="network number ")
    slider = alt.param(name="network", value=1, bind=choice)
    limit = float(np.abs(found).max())
    titles: dict[str, Any] = {
        "x": "neuron",
        "y": "gradient",
        "colour": "layer",
        "x_title": "neuron",
        "y_title": "∂C/∂b",
    }
    ours = bar_chart(rows, **titles, y_domain=(-limit, limit), title="Our networks")
    ours.layer[0] = ours.layer[0].transform_filter("datum.network == network")
    recorded = [
        {"neuron": k + 1, "layer": l + 1, "gradient": value}
        for l, layer in enumerate(book()["bars"])
        for k, value in enumerate(layer)
    ]
    title = "The text's network, as recorded by its author"
    text = bar_chart(recorded, **titles, y_domain=(-limit, limit), title=title)
    return [ours.add_params(slider), *([text] if results["data"]["name"] == "mnist" else [])]


def initial_speeds(results: Results) -> Charts:
    """Draw the learning speed of every hidden layer before training."""
    panels = []
    for h in HIDDEN:
        recorded = results["initial_speed"][str(h)]["book"] or []
        found = enumerate(speeds(results, str(h)))
        rows = [{"layer": l + 1, "speed": v, "network": i} for i, row in found for l, v in enumerate(row)]
        panels.append(
            speed_dots(
                rows, x_domain=(5e-4, 1), reference=[{"layer": l + 1, "speed": v} for l, v in enumerate(recorded)],
                reference_title="the text's network", details={"network": "network"}, title=depth(h),
            )
        )  # fmt: skip
    return panels


def speed_dots(rows: list[dict[str, Any]], **given: Any) -> alt.LayerChart:
    """Draw learning speeds by layer."""
    titles: dict[str, Any] = {"value_title": "||δ||", "group_title": "hidden layer"}
    return dots_with_interval(rows, value="speed", group="layer", log_x=True, row_height=46, **titles, **given)


def initial_speed_table(results: Results) -> Table:
    """Tell the learning speeds before training beside the text's."""
    rows: list[list[Any]] = []
    for h in HIDDEN:
        speed, recorded = speeds(results, str(h)), results["initial_speed"][str(h)]["book"]
        for l, (low, median, high) in enumerate(zip(*middle(speed), strict=True)):
            placed = f"{percentile_of(recorded[l], speed[:, l]):.0f} %" if recorded else None
            text = float(recorded[l]) if recorded else None
            rows.append([f"{depth(h)}, layer {l + 1}", median, span(low, high), text, placed])
    return Table(["network and layer", "median", "95 % of networks", "the text", "networks below the text's"], rows)


def descent_speeds(results: Results) -> Charts:
    """Draw the learning speeds through descent with weight decay, the text's recording over them."""
    return _descent(results, "speed", HIDDEN, with_book=results["data"]["name"] == "mnist")


def descent_without_decay(results: Results) -> Charts:
    """Draw the learning speeds through descent without weight decay."""
    return _descent(results, "speed_without_decay", HIDDEN[1:])


def descent_per_example(results: Results) -> Charts:
    """Draw the mean length of single images' gradients through descent without weight decay."""
    return _descent(results, "per_example_speed_without_decay", HIDDEN[1:])


def _descent(results: Results, key: str, depths: tuple[int, ...], with_book: bool = False) -> Charts:
    everywhere = np.concatenate([np.asarray(results["training_speed"][str(h)][key]).ravel() for h in HIDDEN])
    positive = everywhere[np.isfinite(everywhere) & (everywhere > 0)]
    ends = float(positive.min()), float(positive.max())
    panels = []
    for h in depths:
        speed = np.asarray(results["training_speed"][str(h)][key])
        recorded = _recorded(speed.shape[1]) if with_book and h == 2 else []
        panels.append(
            banded(
                layer_curves(speed, range(speed.shape[1]), x="step", y="speed"), "step", "speed", y_domain=ends,
                x_title="step of gradient descent", y_title="||δ||", reference=recorded, reference_title="the text",
                title=depth(h), height=220,
            )
        )  # fmt: skip
    return panels


def _recorded(steps: int) -> list[dict[str, Any]]:
    descent = book()["descent"]
    return [
        {"step": t, "layer": l + 1, "speed": speed}
        for t, speeds in zip(descent["step"], descent["speed"], strict=True)
        for l, speed in enumerate(speeds)
        if t < steps
    ]


def neighbours(results: Results) -> Table:
    """Tell how many times faster each layer learns than the one before."""
    rows: list[list[Any]] = []
    for h in HIDDEN[1:]:
        speed = np.asarray(results["training_speed"][str(h)]["speed"])
        ratios = np.median(speed[:, :, 1:] / speed[:, :, :-1], 0)
        for l, ratio in enumerate(ratios.T, 1):
            inside = percent(float(np.mean((ratio >= 5) & (ratio <= 10))))
            rows.append([depth(h), f"{l + 1} over {l}", number(float(ratio[0])), number(float(ratio[-1])), inside])
    return Table(["network", "layers", "at the start", "at the end", "steps within 5 to 10"], rows)


def speed_ratios(results: Results) -> Table:
    """Tell how many times faster the last hidden layer learns than the first, by four measures."""
    rows: list[list[Any]] = []
    for h in HIDDEN[1:]:
        found = results["training_speed"][str(h)]
        for what, key, accuracy in (
            ("averaged, with decay, as in the text", "speed", "accuracy"),
            ("averaged, without decay", "speed_without_decay", "accuracy_without_decay"),
            ("single images, with decay", "per_example_speed", "accuracy"),
            ("single images, without decay", "per_example_speed_without_decay", "accuracy_without_decay"),
        ):
            speed = np.asarray(found[key])
            ratio = speed[:, :, -1] / speed[:, :, 0]
            low, median, high = map(float, middle(ratio[:, -1]))
            right = percent(float(np.median(np.asarray(found[accuracy]))))
            start = number(float(np.median(ratio[:, 0])))
            rows.append([f"{h} hidden", what, start, number(median), span(low, high), right])
    return Table(["network", "gradient", "at the start", "at the end", "95 %", "images right"], rows)


def progress(results: Results) -> Charts:
    """Draw each layer's share of progress through training."""
    data = results["share_of_progress"]["4"]
    rows = layer_curves(data["share"], data["epoch"], x="epoch", y="share")
    return banded(rows, "epoch", "share", x_title="epoch", y_title="share of progress", y_domain=(1e-6, 1))


def reset(results: Results) -> Charts:
    """Draw the accuracy that is lost when one layer is put back."""
    panels = []
    for h in HIDDEN:
        rows = [
            {"layer": l + 1, "lost": 100 * value, "put back to": name}
            for name, key in (("its start", "accuracy_lost"), ("fresh noise", "accuracy_lost_fresh"))
            for l, value in enumerate(np.asarray(results["reset"][str(h)][key]).mean(0))
        ]
        panels.append(
            bar_chart(
                rows, x="layer", y="lost", colour="put back to", x_title="layer put back",
                y_title="points of accuracy lost", y_domain=(0, 100), title=depth(h), height=150,
            )
        )  # fmt: skip
    return panels


def moved(results: Results) -> Table:
    """Tell how far each layer's weights end from their start."""
    rows: list[list[Any]] = []
    for h in HIDDEN:
        shown = [f"{distance:.1f}" for distance in np.median(np.asarray(results["moved"][str(h)]), 0)]
        rows.append([depth(h), *shown[:-1], *[None] * (max(HIDDEN) - h), shown[-1]])
    return Table(["network", "layer 1", "layer 2", "layer 3", "layer 4", "output"], rows)


def _weights(results: Results, hidden: int) -> Charts:
    before, after = np.asarray(results["first_layer"][str(hidden)])
    height, width = results["data"]["image_shape"]
    limit = float(np.quantile(np.abs(after), 0.995))
    return [
        pictures(weights.reshape(-1, height, width), limit=limit, columns=6, cell=50, title=title)
        for weights, title in ((before, "before training"), (after, "after"))
    ]


weights_1, weights_4 = (partial(_weights, hidden=h) for h in (1, 4))


def controls(results: Results) -> tuple[Charts, list[dict[str, Any]]]:
    """Draw the accuracies of the puzzle's controls."""
    groups = {depth(h): final_accuracy(results, h) for h in (1, 4)}
    for name, accuracy in results["controls"].items():
        groups[CONTROL_NAMES[name]] = 100 * np.asarray(accuracy)[:, -1]
    rows = [{"network": name, "wrong": 100 - a} for name, values in groups.items() for a in values]
    titles: dict[str, Any] = {"value_title": "validation images wrong, %", "group_title": ""}
    chart = dots_with_interval(rows, value="wrong", group="network", log_x=True, row_height=44, **titles)
    return chart, [{"network": name, "right, mean %": f"{np.mean(v):.2f}"} for name, v in groups.items()]


def convergence_speeds(results: Results) -> Charts:
    """Draw a shallow network's speeds in training, an untrained deep one's over them."""
    speed = np.asarray(results["convergence"]["shallow"]["speed"])
    deep = np.median(np.asarray(results["convergence"]["deep"]["speed"]), 0)
    reference = [
        {"epoch": t, "layer": layer, "speed": deep[k]}
        for layer, k in ((1, 0), (2, -1))
        for t in (0, speed.shape[1] - 1)
    ]
    return banded(
        layer_curves(speed, range(speed.shape[1]), x="epoch", y="speed"), "epoch", "speed", y_title="||δ||",
        x_title="epoch of training the shallow network", reference=reference,
        reference_title="the untrained deep network",
    )  # fmt: skip


def costs_speeds(results: Results) -> Charts:
    """Draw every layer's speed at the start under both costs."""
    titles = {"default": "the text's initial weights", "large": "large weights, N(0, 1): saturated neurons"}
    panels = []
    for name, title in titles.items():
        rows = [
            {"depth": l + 1, "speed": m, "low": lo, "high": hi, "cost": cost}
            for cost, found in results["costs"][name].items()
            for l, (lo, m, hi) in enumerate(np.quantile(np.asarray(found), [0.025, 0.5, 0.975], axis=0).T)
        ]
        panels.append(
            banded(
                rows, "depth", "speed", colour="cost", x_title="layer (5 is the output)", y_title="||δ||",
                band_title="95 % of networks", y_domain=(1e-4, 10), title=title,
            )
        )  # fmt: skip
    return panels
