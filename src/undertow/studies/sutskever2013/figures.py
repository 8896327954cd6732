"""The figures and tables of the study's page, each named as in `article.md`."""

from collections.abc import Iterable
from typing import Any

import altair as alt
import numpy as np

from undertow.render.charts import bars
from undertow.render.page import Table
from undertow.render.pictures import pictures
from undertow.studies.curves import banded, layer_curves, member_curve
from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import best_method, final, scale_error, sigmoid_gains, slow_layers
from undertow.studies.sutskever2013.config import METHODS
from undertow.studies.sutskever2013.values import WRITTEN, landings

Charts = list[Any]


def reconstructions(results: Results) -> Charts:
    """Show test images and what networks make of them."""
    best = best_method(results)
    shown = {
        "the images": results["methods"]["SGD"]["shown"],
        "SGD": results["methods"]["SGD"]["pictures"],
        best: results["methods"][best]["pictures"],
        "started at a quarter of the scale": results["scales"]["0.25"]["pictures"],
    }
    return [
        pictures(np.asarray(images, float), grey=True, limit=1.0, columns=8, cell=40, title=name)
        for name, images in shown.items()
    ]


def error_curves(results: Results) -> Charts:
    """Draw the squared error through training, a panel for each kind of momentum."""
    panels = []
    for kind, title in (("Nesterov", "Nesterov's method"), ("classical", "classical momentum")):
        rows: list[dict[str, Any]] = []
        for name, method in METHODS.items():
            if method.kind in ("SGD", kind):
                rows += _curve(results["methods"][name], f"μ {method.mu:g}" if method.mu else "SGD")
        panels.append(_error_curves(rows, title))
    return panels


def scale_curves(results: Results) -> alt.LayerChart:
    """Draw the squared error through training from every scale."""
    return _error_curves([row for s, found in results["scales"].items() for row in _curve(found, WRITTEN[s])], "")


def _curve(found: Results, name: str) -> list[dict[str, Any]]:
    return member_curve(found["error"], found["updates"], x="update", y="error", method=name)


def _error_curves(rows: Iterable[dict[str, Any]], title: str) -> alt.LayerChart:
    titles = {"x_title": "updates", "y_title": "squared error", "title": title}
    return banded(rows, "update", "error", colour="method", log_x=True, **titles)


def final_errors(results: Results) -> Charts:
    """Draw what is left of the error at the end, ours and the paper's."""
    ours, paper = {name: final(results, name) for name in METHODS}, results["paper_error"]["MNIST"]
    return [
        bars(
            [{"μ": f"{m.mu:g}" if m.mu else "none", "kind": m.kind, "error": errors[n]} for n, m in METHODS.items()],
            x="μ", y="error", colour="kind", x_title="largest momentum", y_title="squared error", title=title,
        )
        for errors, title in ((ours, "Here"), (paper, "The paper, MNIST"))
    ]  # fmt: skip


def error_table(results: Results) -> Table:
    """Tell the errors at the end, ours beside the paper's."""
    rows: list[list[Any]] = []
    for name in METHODS:
        found = results["methods"][name]
        error, test = np.asarray(found["error"], float)[:, -1], np.asarray(found["test_error"], float)
        paper = [results["paper_error"][data][name] for data in ("MNIST", "Curves", "Faces")]
        ours = f"{error.mean():.2f} ± {error.std(ddof=1):.2f}"
        rows.append([name, ours, float(test.mean()), f"{found['eta']:g}", *paper])
    return Table(["method", "here", "on test images", "their η", "paper: MNIST", "Curves", "Faces"], rows)


def lowering_table(results: Results) -> Table:
    """Tell the errors before momentum is lowered, after it, and after as many updates without."""
    rows: list[list[Any]] = [[name, *errors] for name, errors in landings(results).items()]
    return Table(["method", "before", "after, lowered", "after, left high"], rows)


def gradients(results: Results) -> alt.LayerChart:
    """Draw the gradient at every layer before training, by scale, theory's over it."""
    rows: list[dict[str, Any]] = []
    foreseen = []
    for scale, found in results["scales"].items():
        gains = np.asarray(found["gain"], float)
        size = np.append(np.cumprod(gains[:, ::-1], 1)[:, ::-1], np.ones((len(gains), 1)), 1)
        places = range(1, size.shape[1] + 1)
        rows += member_curve(size, places, x="place", y="size", scale=WRITTEN[scale])
        foreseen += [
            {"place": l, "scale": WRITTEN[scale], "size": found["expected_gain"] ** (len(places) - l)} for l in places
        ]
    return banded(
        rows, "place", "size", colour="scale", x_title="layer", y_title="||δ||, the output's = 1", reference=foreseen,
        reference_title="foreseen",
    )  # fmt: skip


def scale_table(results: Results) -> Table:
    """Tell the factor of a layer and the error at the end, by scale."""
    rows: list[list[Any]] = []
    for scale, found in results["scales"].items():
        factors = float(found["expected_gain"]), float(np.median(sigmoid_gains(results, scale)))
        rows.append([WRITTEN[scale], *factors, scale_error(results, scale), results["paper_scale_error"][scale]])
    return Table(["scale", "foreseen", "measured", "error, here", "paper, Curves"], rows)


def moved(results: Results) -> Charts:
    """Draw how far every layer's weights come, with and without momentum."""
    panels = []
    for name in ("SGD", best_method(results, "Nesterov")):
        found = results["methods"][name]
        rows = layer_curves(np.asarray(found["moved"], float), found["updates"], x="update", y="moved")
        title = f"{name}, η = {found['eta']:g}"
        panels.append(banded(rows, "update", "moved", x_title="updates", y_title="distance", log_x=True, title=title))
    return panels


def slow_table(results: Results) -> Table:
    """Tell what gradient each layer gets at the start, and how much further momentum moves it."""
    method = best_method(results, "Nesterov")
    received, further = slow_layers(results, method)
    rows: list[list[Any]] = [
        [str(l), float(r), float(f)] for l, (r, f) in enumerate(zip(received, further, strict=True), 1)
    ]
    columns = ["layer", "gradient at the start, the output's = 1", f"{method} over SGD: distance moved"]
    return Table(columns, rows)
