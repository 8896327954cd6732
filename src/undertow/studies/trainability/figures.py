"""The figures and tables of the study's page, each named as in `article.md`."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from undertow.formatting import DASH, counted
from undertow.pytorch_code import spelled
from undertow.render.axes import charted, layered, log_ticks
from undertow.render.page import Table
from undertow.render.rows import plain
from undertow.render.theme import CATEGORY_COLOURS
from undertow.studies.study import Results

THEORY = CATEGORY_COLOURS[1]
_EPOCHS = ["#8fb8d6", "#3a86b8", "#06304a"]
LINE, CRITICAL = "6 ξ, theory", "critical"
"""Names of the lines that theory draws over a map."""

Field = Mapping[str, Any]


def depth_map(field: Field, name: str, height: int = 320) -> alt.LayerChart:
    """Draw accuracy over weight variance and depth as colours, with 6 ξ_c and the critical variance drawn over it.

    Args:
        field: a map of `undertow.studies.trainability.measuring.fields`.
        name: of its activation, for the title.
        height: of the plotting area, pixels.
    """
    accuracy = np.asarray(field["train_accuracy"], dtype=float)
    across, upwards = edges(field["weight_var"]), edges(field["depth"])
    rows = [
        {"left": across[j], "right": across[j + 1], "bottom": upwards[i], "top": upwards[i + 1], "depth": d,
         "weight_var": w, "accuracy": accuracy[i, j].mean(), "least": accuracy[i, j].min(),
         "greatest": accuracy[i, j].max(), "expected": _rounded(field["expected"][j])}
        for i, d in enumerate(field["depth"])
        for j, w in enumerate(field["weight_var"])
    ]  # fmt: skip
    x, y = _axis("left", across, "variance of the weights, n Var W"), _axis("bottom", upwards, "hidden layers")
    cells = (
        charted(plain(rows))
        .mark_rect(stroke="white", strokeWidth=0.6)
        .encode(
            x=x,
            x2="right:Q",
            y=y,
            y2="top:Q",
            color=_accuracy(),
            tooltip=[
                alt.Tooltip("depth:Q", title="hidden layers"),
                alt.Tooltip("weight_var:Q", title="n Var W"),
                alt.Tooltip("accuracy:Q", title="accuracy", format=".3f"),
                alt.Tooltip("least:Q", title="least", format=".3f"),
                alt.Tooltip("greatest:Q", title="greatest", format=".3f"),
                alt.Tooltip("expected:N", title="6 ξ, layers"),
            ],
        )
    )
    parts = [cells, *_theory(field, across, upwards)]
    return layered(parts, name, height)


def _theory(field: Field, across: Sequence[float], upwards: Sequence[float]) -> list[alt.Chart]:
    rows = [
        {"left": w, "bottom": d if upwards[0] <= d <= upwards[-1] else None, "what": LINE}
        for w, d in zip(field["line"]["weight_var"], field["line"]["depth"], strict=True)
    ]
    dash = alt.StrokeDash("what:N", scale=alt.Scale(domain=[LINE, CRITICAL], range=[[1, 0], [5, 4]]), legend=_legend())
    x, y = alt.X("left:Q"), alt.Y("bottom:Q")
    halo = charted(plain(rows)).mark_line(stroke="white", strokeWidth=5, opacity=0.8).encode(x=x, y=y)
    curve = charted(plain(rows)).mark_line(stroke=THEORY, strokeWidth=2.5).encode(x=x, y=y, strokeDash=dash)
    parts = [halo, curve]
    if field["critical"] is not None and field["critical"] < across[-1]:
        ends = [{"left": field["critical"], "bottom": each, "what": CRITICAL} for each in (upwards[0], upwards[-1])]
        parts.append(charted(ends).mark_line(stroke=THEORY, strokeWidth=1.5).encode(x=x, y=y, strokeDash=dash))
    return parts


def tanh_map(results: Results) -> tuple[alt.LayerChart, Table]:
    """Draw tanh's map, the numbers in a table."""
    field = results["maps"]["tanh"]
    accuracy = np.asarray(field["train_accuracy"], dtype=float).mean(-1)
    rows = [[d, *(float(f"{a:.2f}") for a in line)] for d, line in zip(field["depth"], accuracy, strict=True)]
    reach = [f"{d:.0f}" if np.isfinite(d) else DASH for d in np.asarray(field["expected"], dtype=float)]
    columns = ["hidden layers", *(f"{w:g}" for w in field["weight_var"])]
    return depth_map(field, ""), Table(columns, [*rows[::-1], ["$6\\,\\xi_c$", *reach]])


def other_maps(results: Results) -> list[alt.LayerChart]:
    """Draw the maps of the other activations."""
    return [depth_map(field, spelled(name), 280) for name, field in results["maps"].items() if name != "tanh"]


def settings(results: Results) -> Table:
    """Tell what was trained of each activation."""
    rows = []
    for name, f in results["maps"].items():
        ranges = f"{min(f['depth'])} to {max(f['depth'])}", f"{min(f['weight_var']):g} to {max(f['weight_var']):g}"
        rows.append([spelled(name), *ranges, f"{f['eta']:g}", f"{f['critical']:.3g}"])
    return Table(["activation", "hidden layers", "$\\sigma_w^2$", "learning rate", "critical $\\sigma_w^2$"], rows)


def bias_map(results: Results, height: int = 300) -> alt.LayerChart:
    """Draw accuracy over both variances at one depth; a dot marks the settings that theory lets train."""
    field = results["bias_map"]
    accuracy = np.asarray(field["train_accuracy"], dtype=float).mean(-1)
    rows = [
        {"weight_var": w, "bias_var": b, "accuracy": accuracy[i, j], "expected": _rounded(field["expected"][i][j]),
         "within": bool(field["expected"][i][j] >= field["depth"])}
        for i, b in enumerate(field["bias_var"])
        for j, w in enumerate(field["weight_var"])
    ]  # fmt: skip
    base = charted(plain(rows)).encode(
        x=alt.X("weight_var:O", title="variance of the weights, n Var W", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("bias_var:O", title="variance of the biases", sort="descending"),
        tooltip=[
            alt.Tooltip("weight_var:Q", title="n Var W"),
            alt.Tooltip("bias_var:Q", title="Var b"),
            alt.Tooltip("accuracy:Q", title="accuracy", format=".3f"),
            alt.Tooltip("expected:N", title="6 ξ, layers"),
        ],
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1).encode(color=_accuracy())
    dots = base.transform_filter("datum.within").mark_circle(color="white", stroke=THEORY, strokeWidth=2, size=70)
    return layered([cells, dots.encode(opacity=alt.value(1))], "", height)


def budgets(results: Results, height: int = 280) -> alt.LayerChart:
    """Draw how deep tanh networks train after each epoch, beside 6 ξ_c."""
    field = results["maps"]["tanh"]
    top = max(field["depth"])
    epochs = len(field["deepest_by_epoch"])
    rows = [
        {"weight_var": w, "deepest": d or None, "epochs": counted(e + 1, "epoch")}
        for e in (0, epochs // 2, epochs - 1)
        for w, d in zip(field["weight_var"], field["deepest_by_epoch"][e], strict=True)
    ]
    line = [
        {"weight_var": w, "deepest": d if d <= top * 1.15 else None, "what": LINE}
        for w, d in zip(field["line"]["weight_var"], field["line"]["depth"], strict=True)
    ]
    domain = [min(field["weight_var"]), max(field["weight_var"])]
    x = alt.X(
        "weight_var:Q",
        title="variance of the weights, n Var W",
        scale=alt.Scale(domain=domain, nice=False),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y("deepest:Q", title="hidden layers", scale=alt.Scale(domain=[0, top * 1.15], nice=False, clamp=False))
    colour = alt.Color(
        "epochs:N",
        sort=None,
        legend=alt.Legend(title=None, columns=2),
        scale=alt.Scale(range=_EPOCHS),
    )
    found = (
        charted(plain(rows))
        .mark_line(point=alt.OverlayMarkDef(size=40, filled=True))
        .encode(x=x, y=y, color=colour, tooltip=["weight_var:Q", "deepest:Q", "epochs:N"])
    )
    dash = alt.StrokeDash("what:N", scale=alt.Scale(domain=[LINE], range=[[1, 0]]), legend=_legend())
    theory = charted(plain(line)).mark_line(stroke=THEORY, strokeWidth=2.5).encode(x=x, y=y, strokeDash=dash)
    return layered([theory, found], "", height)


def edges(values: Sequence[float]) -> list[float]:
    """Return where the fields of neighbouring values meet on a logarithmic axis: their geometric middles.

    Example:
        >>> edges([1.0, 4.0, 16.0])
        [0.5, 2.0, 8.0, 32.0]
    """
    logs = np.log(np.asarray(values, dtype=float))
    middles = (logs[:-1] + logs[1:]) / 2
    ends = [2 * logs[0] - middles[0]], [2 * logs[-1] - middles[-1]]
    return [float(f"{v:.6g}") for v in np.exp(np.concatenate([ends[0], middles, ends[1]]))]


def _axis(field: str, ends: Sequence[float], title: str) -> Any:
    scale = alt.Scale(type="log", domain=[ends[0], ends[-1]], nice=False)
    axis = alt.Axis(values=log_ticks(ends[0], ends[-1]), format="~g", grid=False)
    channel = alt.X if field == "left" else alt.Y
    return channel(f"{field}:Q", title=title, scale=scale, axis=axis)


def _accuracy() -> alt.Color:
    legend = alt.Legend(title="accuracy", gradientLength=75, gradientThickness=10, format="~%", tickCount=4)
    return alt.Color("accuracy:Q", scale=alt.Scale(scheme="tealblues", domain=[0, 1]), legend=legend)


def _legend() -> alt.Legend:
    return alt.Legend(title=None, symbolType="stroke", symbolSize=300, symbolStrokeColor=THEORY, columns=1)


def _rounded(depth: float) -> str:
    return "no fixed point" if np.isnan(depth) else "without bound" if np.isinf(depth) else f"{depth:.3g}"
