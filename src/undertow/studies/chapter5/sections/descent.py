"""Through training: do the layers stay so far apart?"""

from typing import Any

import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.page import Callout, Figure, Prose, Section, Table
from undertow.render.rows import number
from undertow.studies.chapter5.book import book
from undertow.studies.chapter5.protocol import HIDDEN
from undertow.studies.curves import layer_curves
from undertow.studies.statistics import middle
from undertow.studies.wording import in_full_on_mnist, layers, percent, span

Results = dict[str, Any]


def section(results: Results) -> Section:
    """Learning speeds through full-batch descent: as the text measures them, without decay, and example by example."""
    steps = len(np.asarray(results["training_speed"]["2"]["speed"])[0])
    return Section(
        "descent",
        "Through training",
        [
            Prose(
                f"""
                That was the start. The text follows the speeds through {steps} steps of gradient descent on the first
                1,000 images, the whole batch at each step, and finds that the layers stay apart throughout, each
                learning 5 to 10 times faster than the one before. Here is the same experiment.
                """
            ),
            _figure(
                results,
                "speed",
                "descent-speeds",
                "Learning speeds with weight decay",
                "Learning speed before each step, with weight decay as in the text: median over our networks and the range of "
                "all of them. Dotted: the text's own recording for two hidden layers.",
                HIDDEN,
                with_book=True,
            ),
            Prose(_what_it_says(results)),
            _neighbours(results),
            Prose(
                "**Is it the depth that keeps them apart?** Take the weight decay away and repeat." + _closes(results)
            ),
            _figure(
                results,
                "speed_without_decay",
                "descent-without-decay",
                "Learning speeds without weight decay",
                "As above, with λ = 0.",
                HIDDEN[1:],
            ),
            Prose(
                """
                Now look closer. The learning speed is the length of an *average* over images. If the images pull in
                different directions their gradients cancel. So take the length first and average afterwards: how
                large is the gradient of a typical single image?
                """
            ),
            _figure(
                results,
                "per_example_speed_without_decay",
                "descent-per-example",
                "The gradients of single images",
                "Mean over the 1,000 images of the length of each image's own δ, in the same runs without weight decay.",
                HIDDEN[1:],
            ),
            _ratios(results),
            *(
                [Callout("What this means for the chapter's claim", _meaning(results))]
                if in_full_on_mnist(results)
                else []
            ),
        ],
    )


def _closes(results: Results) -> str:
    if not in_full_on_mnist(results):
        return ""
    return (
        " With three and four hidden layers the curves now run together, at an accuracy hardly better: by the text's "
        "measure the gradient has stopped vanishing."
    )


def _figure(
    results: Results,
    key: str,
    name: str,
    title: str,
    caption: str,
    depths: tuple[int, ...],
    with_book: bool = False,
) -> Figure:
    panels = []
    for h in depths:
        speed = np.asarray(results["training_speed"][str(h)][key])
        rows = layer_curves(speed, range(speed.shape[1]), x="step", y="speed")
        panels.append(
            curves_with_bands(
                rows,
                x="step",
                y="speed",
                low="low",
                high="high",
                x_title="step of gradient descent",
                y_title="||δ||",
                band_title="all networks",
                y_domain=_span(results, key),
                reference=_recorded(speed.shape[1])
                if with_book and h == 2 and results["data"]["name"] == "mnist"
                else (),
                reference_title="the text",
                title=layers(h),
                height=220,
            )
        )
    return Figure(name, panels, title, caption)


def _span(results: Results, key: str) -> tuple[float, float]:
    values = np.concatenate([np.asarray(results["training_speed"][str(h)][key]).ravel() for h in HIDDEN])
    values = values[np.isfinite(values) & (values > 0)]
    return float(values.min()), float(values.max())


def _recorded(steps: int) -> list[dict[str, Any]]:
    descent = book()["descent"]
    return [
        {"step": t, "layer": l + 1, "speed": speed}
        for t, speeds in zip(descent["step"], descent["speed"], strict=True)
        for l, speed in enumerate(speeds)
        if t < steps
    ]


def _what_it_says(results: Results) -> str:
    accuracy = [np.asarray(results["training_speed"][str(h)]["accuracy"]) for h in HIDDEN]
    said = "; ".join(f"{percent(a.min())} to {percent(a.max())}" for a in accuracy)
    plateau = (
        " Most of the deeper ones sit on a plateau, hardly above a constant guess." if in_full_on_mnist(results) else ""
    )
    return f"""
        How much faster is each layer than the one before it? [](#neighbours) says, pair by pair. And one thing the text
        doesn't mention: in these steps the networks with 1, 2, 3 and 4 hidden layers come to classify {said} of their
        training images.{plateau}
        """


def _neighbours(results: Results) -> Table:
    rows: list[list[Any]] = []
    for h in HIDDEN[1:]:
        speed = np.asarray(results["training_speed"][str(h)]["speed"])
        ratios = np.median(speed[:, :, 1:] / speed[:, :, :-1], 0)
        for l, ratio in enumerate(ratios.T, 1):
            inside = percent(float(np.mean((ratio >= 5) & (ratio <= 10))))
            rows.append([layers(h), f"{l + 1} over {l}", number(float(ratio[0])), number(float(ratio[-1])), inside])
    columns = ["network", "layers", "at the start", "at the end", "steps within 5 to 10"]
    caption = "How many times faster each layer learns than the one before, with weight decay (median of the networks)"
    return Table(columns, rows, caption=caption, id="neighbours", stacked=True)


def _ratios(results: Results) -> Table:
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
            rows.append(
                [f"{h} hidden", what, number(float(np.median(ratio[:, 0]))), number(median), span(low, high), right]
            )
    columns = ["network", "gradient", "at the start", "at the end", "95 %", "images right"]
    caption = "How many times faster the last hidden layer learns than the first"
    return Table(columns, rows, caption=caption, id="speed-ratios", stacked=True)


def _meaning(results: Results) -> str:
    def ratio(key: str) -> float:
        speed = np.asarray(results["training_speed"]["4"][key])[:, -1]
        return float(np.median(speed[:, -1] / speed[:, 0]))

    return f"""
        With four hidden layers and no weight decay the last layer ends {ratio("speed_without_decay"):.2g} times as
        fast as the first by the text's measure, and {ratio("per_example_speed_without_decay"):.3g} times by the
        gradients of single images. Both are true. The gradient of every image still vanishes on its way to the front;
        what changes is how much of it survives the average, its **coherence**. Presumably the output's biases have,
        on this plateau, learned how frequent each digit is, so that the errors of the images cancel, and with them
        the average gradient of every layer. Weight decay keeps disturbing this balance, and what is left over travels
        back through the layers and shows their gap. The text's curves mix all this. Its conclusion, that the front
        layers of a deep network get little gradient, stands all the same: on the gradients of single images, with
        decay or without.
        """
