"""With what gradient networks set out, and whether it tells which ones train."""

from typing import Any

import numpy as np

from undertow.render.charts import bars, curves_with_bands
from undertow.render.page import Figure, Prose, Section, Table
from undertow.studies.remedies.design import TRAINS, WRITTEN, variances
from undertow.studies.remedies.table import best_accuracy, gradient_decades
from undertow.studies.study import Results
from undertow.studies.wording import percent

EDGES = (-np.inf, -8, -4, -2, -1, 1, 2, np.inf)
NAMES = ("−8 and less", "−8 to −4", "−4 to −2", "−2 to −1", "−1 to 1", "1 to 2", "2 and more")
SHOWN = ("sigmoid", "tanh", "relu")


def section(results: Results) -> Section:
    """Learning speeds layer by layer before training."""
    depth = results["amount"]["profile_depth"]
    return Section(
        "gradients",
        "With what gradient they set out",
        [
            Prose(
                f"""
                **Method.** Before any training, the book's learning speed $\\|\\partial C/\\partial b^l\\|$ of every hidden layer, in networks of {depth}
                hidden layers. Where it falls towards the first layer the gradient vanishes on its way, where it rises it explodes.
                """
            ),
            *(
                _profiles(results, activation, depth)
                for activation in SHOWN
                if activation in results["factors"]["activation"]
            ),
            _theory(results, depth),
            Prose(
                f"""
                Does it tell which networks train? Sort all by how many decades lie between the first hidden layer and the last, and count
                which of them reach {percent(TRAINS)} with their best optimizer.
                """
            ),
            _telling(results),
        ],
    )


def _profiles(results: Results, activation: str, depth: int) -> Figure:
    panels = []
    for architecture, found in results["start_speed"][activation].items():
        speeds = np.asarray(found[str(depth)], float)
        rows = [
            {"place": l, "start": start, "speed": v}
            for start, speed in zip(results["factors"]["start"], speeds, strict=True)
            for l, v in enumerate(speed / speed[-1], 1)
        ]
        panels.append(
            curves_with_bands(
                rows, x="place", y="speed", colour="start", x_title="hidden layer", y_title="||∂C/∂b||, the last's = 1",
                title=architecture, height=170,
            )
        )  # fmt: skip
    return Figure(
        f"profiles-{activation}",
        panels,
        f"The gradient's way back, {WRITTEN[activation]}",
        "Learning speed of every hidden layer before training relative to the last one's, one network from each start; "
        "the axes differ. He's start is the critical one for ReLU." if activation == "relu" else
        "Learning speed of every hidden layer before training relative to the last one's, one network from each start; the axes differ.",
    )  # fmt: skip


def _theory(results: Results, depth: int) -> Table:
    rows: list[list[Any]] = []
    [at] = [k for k, each in enumerate(results["factors"]["depth"]) if each == depth]
    measured = gradient_decades(results)[:, 0, at]
    for a, activation in enumerate(results["factors"]["activation"]):
        for s, start in enumerate(results["factors"]["start"]):
            gain = results["expected_gain"][activation][start]
            weight_var, bias_var = variances(start, activation)
            foreseen = round(float(np.log10(gain)) * (depth - 1), 1) + 0.0
            rows.append(
                [
                    f"{WRITTEN[activation]}, {start}",
                    f"{weight_var:.3g}, {bias_var:.3g}",
                    float(gain),
                    f"{foreseen:.1f}",
                    f"{measured[a, s]:.1f}",
                ]
            )
    return Table(
        ["plain networks", "n Var W, Var b", "factor a layer", "decades, foreseen", "measured"],
        [[cell.replace("-", "−") if isinstance(cell, str) else cell for cell in row] for row in rows],
        caption=f"What mean-field theory foresees for {depth} plain hidden layers, and one network of {results['amount']['width']} units a layer",
        id="theory-table",
    )


def _telling(results: Results) -> Figure:
    decades, accuracy = gradient_decades(results), best_accuracy(results).max(2)
    rows = []
    groups = {
        "plain": [0],
        "norm": [1, 2],
        "residual": [3, 4],
    }
    for kind, places in groups.items():
        d, right = decades[:, places].ravel(), accuracy[:, places].ravel()
        for name, low, high in zip(NAMES, EDGES, EDGES[1:], strict=False):
            chosen = (d >= low) & (d < high)
            if chosen.any():
                rows.append(
                    {
                        "decades": name,
                        "kind": kind,
                        "trained": 100 * float(np.mean(right[chosen] >= TRAINS)),
                        "networks": int(chosen.sum()),
                    }
                )
    rows.sort(key=lambda row: NAMES.index(str(row["decades"])))
    chart = bars(
        rows, x="decades", y="trained", colour="kind", x_title="decades from the last hidden layer to the first", y_title="that train, %",
        y_domain=(0, 100), height=240,
    )  # fmt: skip
    return Figure(
        "telling",
        chart,
        "The gradient at the start, and who trains",
        "Share of combinations of activation, start, architecture and depth that train with their best optimizer. Bars that are missing: no such "
        "networks, or none that trains; the table tells which.",
        table=rows,
        wide=True,
    )
