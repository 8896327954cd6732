"""How large to start: five scales of the sparse start, and what theory says of them beforehand."""

from typing import Any

import numpy as np

from undertow.render.charts import curves_with_bands
from undertow.render.page import Figure, Prose, Section, Table
from undertow.studies.curves import member_curve
from undertow.studies.study import Results
from undertow.studies.sutskever2013.claims import scale_error, sigmoid_gains
from undertow.studies.sutskever2013.sections.momentum import curve, error_curves

STUCK = 0.9
"""A network with this share of the mean image's error, or more, has learned next to nothing but that image."""

WRITTEN = {"0.25": "× ¼", "0.5": "× ½", "1": "× 1", "2": "× 2", "4": "× 4"}


def section(results: Results) -> Section:
    """Which scales of the start fail."""
    return Section(
        "scales",
        "Which starts fail",
        [
            Prose(
                """
                **Method.** In the *sparse* start each unit listens to 15 others, by weights from $N(0, 1)$; its other weights and its
                bias are 0. Here all weights are multiplied by a scale $s$, and the networks trained by Nesterov's method with
                $\\mu_{max} = .99$.

                **The paper found**, on Curves, errors of 16 and 16 at a quarter and a half of the scale, .074 at the scale itself, .083 at
                twice and .35 at four times: too small fails altogether, too large costs little.

                **Theory** can tell beforehand. Mean-field theory says that a layer of sigmoids multiplies the length of the gradient by
                $\\sqrt{\\chi_1}$, the root of $15 s^2$ times the mean of $\\varphi'^2$.
                """
            ),
            _gains(results),
            _table(results),
            _errors(results),
            Prose(_said(results)),
        ],
    )


def _gains(results: Results) -> Figure:
    rows: list[dict[str, Any]] = []
    foreseen = []
    for scale, found in results["scales"].items():
        gains = np.asarray(found["gain"], float)
        size = np.append(np.cumprod(gains[:, ::-1], 1)[:, ::-1], np.ones((len(gains), 1)), 1)
        rows += member_curve(size, range(1, size.shape[1] + 1), x="place", y="size", scale=WRITTEN[scale])
        depth = size.shape[1]
        foreseen += [
            {"place": l, "scale": WRITTEN[scale], "size": found["expected_gain"] ** (depth - l)}
            for l in range(1, depth + 1)
        ]
    chart = curves_with_bands(
        rows, x="place", y="size", low="low", high="high", colour="scale", x_title="layer", y_title="||δ||, the output's = 1",
        band_title="all networks", reference=foreseen, reference_title="foreseen",
    )  # fmt: skip
    return Figure(
        "gradients",
        chart,
        "What reaches each layer before training",
        "Length of the gradient at every layer relative to the output layer's, by the scale of the start. Dotted: theory, as if all layers were "
        "sigmoids; the linear code in the middle passes on more, and the layer above it, whose inputs are large, less.",
    )


def _table(results: Results) -> Table:
    rows: list[list[Any]] = []
    for scale, found in results["scales"].items():
        measured = np.median(sigmoid_gains(results, scale))
        rows.append(
            [
                WRITTEN[scale],
                float(found["expected_gain"]),
                float(measured),
                scale_error(results, scale),
                results["paper_scale_error"][scale],
            ]
        )
    return Table(
        ["scale", "foreseen", "measured", "error, here", "paper, Curves"],
        rows,
        caption="Factor by which a layer multiplies the gradient, foreseen and measured (median over the sigmoid layers that other units feed), and squared errors after training",
        id="scale-table",
    )


def _errors(results: Results) -> Figure:
    rows = [row for scale, found in results["scales"].items() for row in curve(found, WRITTEN[scale])]
    return Figure(
        "scale-curves",
        error_curves(rows, ""),
        "Training from five scales",
        "Squared error, median of the networks and the range of all.",
    )


def _said(results: Results) -> str:
    error = {scale: scale_error(results, scale) for scale in results["scales"]}
    said = ", ".join(f"{value:.3g} at {WRITTEN[scale]}" for scale, value in error.items())
    constant, last = results["scales"]["1"]["constant"], max(results["scales"]["1"]["updates"])
    return f"""
        **Here** the errors at the end are {said}. A network that gives back the mean image whatever it is shown is left with
        {constant:.3g}. A start that is too small sits at that error, since nothing of the image reaches the code
        and nothing of the error reaches the encoder; how long, the curves show. After {last:,} updates {_stuck(error, constant)}. Whether such
        a start ever leaves it depends on the depth and the learning rate: the paper's networks on Curves, whose encoders have six layers,
        didn't. A start that is too large sets out far above it, from saturated units; after {last:,} updates {_above(error, constant)}.
        """


def _above(error: dict[str, float], constant: float) -> str:
    """Which of the large starts have come to be better than the mean image."""
    better = [WRITTEN[scale] for scale in ("2", "4") if error[scale] <= STUCK * constant]
    if not better:
        return "neither is better than the mean image"
    return " and ".join(better) + (" are" if len(better) > 1 else " alone is") + " better than the mean image"


def _stuck(error: dict[str, float], constant: float) -> str:
    """Which of the small starts are still where nothing is learned."""
    there = [WRITTEN[scale] for scale in ("0.25", "0.5") if error[scale] > STUCK * constant]
    return (
        " and ".join(there) + (" are" if len(there) > 1 else " is") + " there still"
        if there
        else "neither is there still"
    )
