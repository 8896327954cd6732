"""A chart as an SVG that stands in the page itself: a page of these needs no charting library.

What a live chart tells in a tooltip is kept at every mark, as ``data-told``; `templates/told.js` shows it to a pointer.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from undertow.render import figures

WIDE, NARROW = 640, 330
"""Pixels: the page shows the one that fits."""

NARROW_NAMES = 105
"""Pixels that names beside rows may take of the narrow one."""

LINES = re.compile(r"\blines$")
WITHIN = re.compile(
    r' (?:role="graphics-\w+"|aria-roledescription="[^"]*"|font-family="[^"]*"|xmlns(?::xlink)?="[^"]*")'
)
UNSEEN = re.compile(r'<path class="(?:fore|back)ground"[^>]*/>')
PLACE = re.compile(r'(?<= transform="translate\()[-\d.,]+(?=\)")')


@dataclass(frozen=True)
class Still:
    """A chart drawn for a wide screen and for a narrow one, as SVG elements."""

    wide: Markup
    narrow: Markup

    @classmethod
    def of(cls, spec: figures.Spec, name: str) -> "Still":
        """Draw a specification of `figures.to_spec`.

        Args:
            spec: the chart.
            name: what ids within begin with, one of its own for each chart of a page.
        """
        told = _telling(spec)
        return cls(
            _inline(figures.drawn(told, WIDE), f"{name}-{WIDE}"),
            _inline(figures.drawn(_narrowed(told), NARROW), f"{name}-{NARROW}"),
        )


def _narrowed(spec: figures.Spec) -> figures.Spec:
    """Return the specification with shorter names beside its rows, and a legend and titles that need less width."""
    narrow = _copied(spec)
    config = narrow["config"]
    config["axis"] = {**config["axis"], "labelFontSize": 11, "titleFontSize": 12}
    config["legend"] = {**config["legend"], "labelFontSize": 12}
    for layer in narrow.get("layer", ()):
        axes = {name: (layer.get("encoding", {}).get(name) or {}).get("axis") for name in "xy"}
        if isinstance(axes["y"], dict) and axes["y"].get("labelLimit", 0) > NARROW_NAMES:
            axes["y"]["labelLimit"] = NARROW_NAMES
        if isinstance(axes["x"], dict):
            turned = (layer["encoding"]["x"].get("scale") or {}).get("reverse")
            axes["x"]["titleAnchor"] = "start" if turned else "end"
        legend = (layer.get("encoding", {}).get("color") or {}).get("legend")
        if isinstance(legend, dict):
            legend["columns"] = min(legend.get("columns", 2), 2)
    return narrow


def _copied(spec: figures.Spec) -> figures.Spec:
    """Return a copy that may be changed, of rows up to what their fields hold."""
    copy = deepcopy({name: part for name, part in spec.items() if name != "datasets"})
    if "datasets" in spec:
        copy["datasets"] = {name: [dict(row) for row in rows] for name, rows in spec["datasets"].items()}
    return copy


def _inline(svg: str, name: str) -> Markup:
    small = PLACE.sub(_rounded, UNSEEN.sub("", WITHIN.sub("", svg)))
    apart = re.sub(r"( id=\"|url\(#)", rf"\g<1>{name}-", small)
    head, _, body = apart.replace(' aria-label="', ' data-told="').partition(">")
    return Markup(head.replace("<svg ", '<svg aria-hidden="true" ', 1) + ">" + body)  # noqa: S704  drawn by Vega


def _rounded(place: "re.Match[str]") -> str:
    return ",".join(f"{float(each):.6g}" for each in place[0].split(","))


def _telling(spec: figures.Spec) -> figures.Spec:
    """Return the specification with what its tooltips say as descriptions, which a drawing keeps."""
    told = _copied(figures.unpointed(spec))
    for layer in _telling_layers(told):
        layer["mark"] = {**layer["mark"], "aria": True}
        layer["encoding"]["description"] = {"field": "told", "type": "nominal"}
        for row in _rows(told, layer):
            row["told"] = "\n".join(f"{name}\t{value}" for name, value in (row.get("lines") or {}).items())
    return told


def _telling_layers(spec: figures.Spec) -> Iterator[dict[str, Any]]:
    for layer in spec.get("layer", ()):
        tooltip = layer["mark"].get("tooltip") if isinstance(layer.get("mark"), Mapping) else None
        if isinstance(tooltip, Mapping) and LINES.search(str(tooltip.get("expr", ""))):
            yield layer


def _rows(spec: figures.Spec, layer: Mapping[str, Any]) -> list[dict[str, Any]]:
    data = layer.get("data", spec.get("data", {}))
    rows: list[dict[str, Any]] = data["values"] if "values" in data else spec["datasets"][data["name"]]
    return rows
