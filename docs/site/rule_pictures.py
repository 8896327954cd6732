"""A picture of every rule, drawn of the network that it fires on: `make pictures`, or run this file.

The network is that of the first how-to whose findings have the rule's code. What an examination saw is drawn layer by
layer, from the input to the loss; what a run saw, step by step. What the finding names has another colour. Faults of
how a network, its loss or its loop is put together are drawn by `rule_diagrams`.
"""

import contextlib
import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs" / "site")]

from rule_diagrams import DIAGRAMS, diagram
from rule_examples import examples

import undertow
from documents import run
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role
from undertow.render import figures
from undertow.render.axes import charted, layered, measured
from undertow.render.labels import elided, full_names
from undertow.render.rows import plain
from undertow.render.theme import CATEGORY_COLOURS, MUTED
from undertow.report import Explanation, Report
from undertow.rules import RULES
from undertow.rules.registry import Over

Explained = Report | Explanation

PICTURES = ROOT / "docs" / "pictures" / "rules"
WIDTH, MOST_PLACES = 560, 14
SMALL = 1e-4
"""Linear axes write what is under it with many zeros."""

USUAL, NAMED = CATEGORY_COLOURS[0], CATEGORY_COLOURS[1]

GRADIENT = ("grad_output", "norm of the gradient")
SIZES = {
    "UT103": ("nonfinite", "inf and nan in the gradient"),
    "UT104": ("progress", "share of a step's progress"),
    "UT105": ("progress", "share of a step's progress"),
    "UT201": ("saturated", "share of saturated values"),
    "UT202": ("dead", "share of dead units"),
    "UT203": ("one_hot", "share of rows that look at one key"),
    "UT204": ("rows_used", "share of the table's rows that are used"),
    "UT205": ("input_cosine", "mean cosine between two examples"),
    "UT302": ("weight_spread", "how unlike its units are"),
    "UT401": ("update_ratio", "step / weights"),
    "UT402": ("weight_grad_norm", "norm of the weights' gradient"),
    "UT404": ("weight_grad_norm", "norm of the weights' gradient"),
    "UT407": ("update_ratio", "step / weights"),
    "UT409": ("update_ratio", "step / weights"),
    "UT507": GRADIENT,
    "UT601": ("coherence", "coherence: what of a batch survives averaging"),
    "UT602": ("coherence", "coherence: what of a batch survives averaging"),
    "UT706": ("input_rms", "root mean square of what comes in"),
}
"""What a rule of single steps looks at, where that isn't the gradient."""

SHARES = {"progress", "saturated", "dead", "one_hot", "rows_used", "input_cosine", "weight_spread"}
"""Columns of numbers between 0 and 1."""

CURVES = {
    "UT403": {"grad_norm_unclipped": "the gradient's norm", "grad_norm": "what clipping leaves of it"},
    "UT701": {"left_over": "gradient left over / gradient"},
}
"""What a rule of runs looks at, where that isn't the loss."""


def explained(code: str, pages: Sequence[Path]) -> tuple[Explained, Finding]:
    """Run how-tos up to one that has what the rule judges; return what is explained there, and the finding."""
    wanted = Report if RULES[code].over is Over.STEP else Explanation
    shown: list[tuple[Explained, Finding]] = []
    for page in pages:
        kept: list[Explained] = []
        with _kept(kept), contextlib.redirect_stdout(io.StringIO()):
            list(run(page))
        shown += [(each, found) for each in kept for found in each.findings if found.code == code]
        if shown and isinstance(shown[-1][0], wanted):
            return shown[-1]
    return shown[0]


@contextlib.contextmanager
def _kept(kept: list[Explained]) -> Iterator[None]:
    """Keep what `undertow.examine` and `undertow.explain` return."""
    real = {name: getattr(undertow, name) for name in ("examine", "explain")}

    def keeping(name: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            kept.append(real[name](*given, **named))
            return kept[-1]

        return call

    for name in real:
        setattr(undertow, name, keeping(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(undertow, name, function)


def picture(shown: Explained, finding: Finding) -> tuple[str, str]:
    """Return a finding's picture as SVG, and what is seen in it, in a sentence; empty where no step was taken."""
    draw = _through_time if isinstance(shown, Explanation) else _layer_by_layer
    return draw(shown.diagnosis, finding)


def _layer_by_layer(diagnosis: Diagnosis, finding: Finding) -> tuple[str, str]:
    column, title = SIZES.get(finding.code, GRADIENT)
    rows = list(_places(diagnosis, finding, column))
    marked = [row["name"] for row in rows if row["named"]]
    named = f"; in orange: {_listed(marked)}" if marked else ""
    if not marked and finding.code not in SIZES:
        named = "; its size tells nothing of this fault"
    seen = f"{title[0].upper()}{title[1:]}, from the input to the loss{named}."
    return _drawn(_dots(rows, title, column in SHARES)), seen


def _places(diagnosis: Diagnosis, finding: Finding, column: str) -> Iterator[dict[str, Any]]:
    """Yield the Sites at which there is something to see, the input's first, few enough for a small picture."""
    sizes, names = diagnosis.column(column), full_names(diagnosis.run.sites)
    if column == "update_ratio":  # nobody takes a step there
        sizes = np.where([bool(site.parameters) for site in diagnosis.run.sites], np.nan_to_num(sizes), np.nan)
    there = [site for site in reversed(diagnosis.run.sites) if np.isfinite(sizes[site.index])]
    there = [site for site in there if site.role is not Role.LOSS]
    if len(there) > MOST_PLACES:
        there = [site for site in there if site.role is Role.WEIGHT]
    step = math.ceil(len(there) / MOST_PLACES)
    for place, site in enumerate(there):
        if place % step == 0 or place == len(there) - 1:
            yield {
                "name": elided(figures.in_a_chart(names[site.index])),
                "place": place,
                "size": float(sizes[site.index]),
                "named": site.index in finding.sites or bool(site.module and site.module == finding.where),
            }


def _dots(rows: Sequence[Mapping[str, Any]], title: str, share: bool) -> alt.LayerChart:
    sizes = [row["size"] for row in rows]
    log = not share and min(sizes) > 0 and (max(sizes) > 20 * min(sizes) or max(sizes) < SMALL)
    most = 1.0 if share else max(*sizes, 0.0) or 1.0
    along = measured(sizes, None if log else (min(*sizes, -0.015 * most), 1.015 * most), log)
    labels = {row["place"]: row["name"] for row in rows}
    axis = alt.Axis(labelExpr=f"({labels!r})[datum.value]", labelLimit=180, domain=False, ticks=False, grid=True)
    shared: dict[str, Any] = {
        "x": alt.X(field="size", type="quantitative", title=title, **along),
        "y": alt.Y(field="place", type="ordinal", title=None, sort=None, axis=axis),
        "color": alt.condition("datum.named", alt.value(NAMED), alt.value(USUAL)),
    }
    dots = charted(list(rows)).mark_point(filled=True, size=90, opacity=1)
    return layered([dots.encode(**shared)], "", 20 * len(rows))


def _through_time(diagnosis: Diagnosis, finding: Finding) -> tuple[str, str]:
    curves = CURVES.get(finding.code, {"loss": "loss"})
    rows = [
        {"step": float(step), "value": float(value), "curve": title}
        for name, title in curves.items()
        for step, value in zip(*_series(diagnosis, name), strict=True)
    ]
    began = finding.began or 0
    if len(rows) < 2:
        return "", ""
    since = f"begins at step {began}" if began else "holds from the first step on"
    seen = f"{_listed(list(curves.values()))}, step by step; the finding {since}."
    return _drawn(_curves(rows, list(curves.values()), began)), seen[0].upper() + seen[1:]


def _series(diagnosis: Diagnosis, name: str) -> tuple[Sequence[float], Sequence[float]]:
    scalar = diagnosis.run.scalars
    known = np.isfinite(scalar[name])
    return scalar["step"][known], scalar[name][known]


def _curves(rows: Sequence[Mapping[str, Any]], titles: Sequence[str], began: int) -> alt.LayerChart:
    table = plain(rows, ["value"])
    values = [row["value"] for row in table if row["value"] is not None]
    log = max(values) > 20 * min(values)
    colour = alt.Color(
        field="curve", type="nominal", scale=alt.Scale(domain=titles, range=[USUAL, MUTED][: len(titles)]),
        legend=alt.Legend(title=None) if len(titles) > 1 else None,
    )  # fmt: skip
    line = charted(table).mark_line().encode(
        x=alt.X(field="step", type="quantitative", title="step"),
        y=alt.Y(field="value", type="quantitative", title="" if len(titles) > 1 else titles[0],
                **measured(values, log=log)),
        color=colour,
    )  # fmt: skip
    mark = charted([{"at": began}]).mark_rule(color=NAMED, strokeWidth=2, strokeDash=[5, 4])
    return layered([line, mark.encode(x=alt.X(field="at", type="quantitative"))], "", 180)


def _drawn(chart: alt.LayerChart) -> str:
    return figures.to_svg(chart, WIDTH)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")


def titled(svg: str, seen: str) -> str:
    """Return a picture's file: the SVG, with what is seen in it as its title."""
    return svg.replace(">", f"><title>{seen}</title>", 1) + "\n"


def main(codes: Sequence[str]) -> None:
    """Draw the pictures of these rules, or of all."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for code, pages in examples().items():
        if not codes or code in codes:
            svg, seen = diagram(code) if code in DIAGRAMS else picture(*explained(code, pages))
            if svg:
                (PICTURES / f"{code}.svg").write_text(titled(svg, seen), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
