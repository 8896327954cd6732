"""From a chart to what others can open: a Vega-Lite specification, an SVG, a PNG."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from altair.typing import ChartType
from altair.utils import schemapi

from undertow.files import write_whole
from undertow.printable import printable
from undertow.render.theme import LAYER, theme

Spec = dict[str, Any]
Charts = ChartType | Sequence[ChartType]

GUTTER = 24
PNG_SCALE = 2.0
"""Pixels of a PNG for each of its SVG's, along a side."""
WIDE_COVERAGE = "'Segoe UI', 'Arial Unicode MS', 'DejaVu Sans', 'Noto Sans', sans-serif"
# Text with a sign that Arial and its kin don't have (norm bars, raised digits).
BEYOND_ARIAL = re.compile(
    r'(<text[^>]* font-family=")[^"]*("[^>]*>[^<]*'
    r"[^\u0000-\u017f\u0370-\u03ff\u2010-\u2015\u2017-\u2022\u2026\u2032\u2190-\u2195\u2202\u2206\u2211\u2212"
    r"\u221a\u221e\u2248\u2260-\u2265][^<]*</text>)"
)
VEGALITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


@contextmanager
def checked_whole() -> Iterator[None]:
    """Leave the parts of a chart unchecked while it is built: `to_spec` checks the whole, which spares seconds."""
    with schemapi.debug_mode(False):
        yield


def to_spec(chart: ChartType) -> Spec:
    """A chart as a Vega-Lite specification with the house's theme and the ``layer`` parameter, wide as its container.

    What the chart configures itself stays, and so does a width of its own. Charts side by side or faceted keep the
    widths they were given: Vega-Lite can't fit them.

    Example:
        >>> rows = alt.InlineData(values=[{"x": 1, "y": 2}])
        >>> spec = to_spec(alt.Chart(rows).mark_point().encode(x="x:Q", y="y:Q"))
        >>> spec["width"], [p["name"] for p in spec["params"]]
        ('container', ['layer'])
    """
    unlimited = alt.data_transformers.enable("default", max_rows=None)
    with unlimited, alt.theme.enable("none"), checked_whole():
        spec: Spec = chart.to_dict()
    spec["config"] = _merged(theme(), spec.get("config", {}))
    parameters = spec.get("params", [])
    if not any(p["name"] == LAYER.name for p in parameters):
        spec["params"] = [{"name": LAYER.name, "value": None}, *parameters]
    if isinstance(chart, alt.Chart | alt.LayerChart) and "width" not in spec:
        spec |= {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return spec


def still(spec: Spec) -> Spec:
    """The specification without what only a pointer needs: the nearest-point layers, a large share of an SVG.

    Example:
        >>> still({"layer": [{"mark": "line"}, {"mark": "point", "name": "v"}],
        ...        "params": [{"name": "hover", "views": ["v"], "select": {"type": "point", "nearest": True}}]})
        {'layer': [{'mark': 'line'}], 'params': []}
    """
    pointed = [p for p in spec.get("params", []) if _nearest(p)]
    views = {view for p in pointed for view in p.get("views", [])}
    kept = dict(spec)
    if pointed and "layer" in spec:
        kept["layer"] = [part for part in spec["layer"] if part.get("name") not in views]
        kept["params"] = [p for p in spec["params"] if p not in pointed]
    return kept


def unpointed(spec: Spec) -> Spec:
    """The specification without what answers to a pointer's nearness; its points stay, unseen, with what they tell.

    Example:
        >>> opacity = {"condition": {"param": "hover", "value": 1}, "value": 0}
        >>> unpointed({"layer": [{"mark": "point", "name": "v", "encoding": {"opacity": opacity}}],
        ...            "params": [{"name": "hover", "views": ["v"], "select": {"type": "point", "nearest": True}}]})
        {'layer': [{'mark': 'point', 'name': 'v', 'encoding': {'opacity': {'value': 0}}}], 'params': []}
    """
    pointed = [p for p in spec.get("params", []) if _nearest(p)]
    views = {view for p in pointed for view in p.get("views", [])}
    layers = [_unseen(part) if part.get("name") in views else part for part in spec.get("layer", [])]
    kept = [p for p in spec.get("params", []) if p not in pointed]
    return {**spec, **({"layer": layers, "params": kept} if pointed else {})}


def _unseen(part: Spec) -> Spec:
    return {**part, "encoding": {**part.get("encoding", {}), "opacity": {"value": 0}}}


def drawn(spec: Spec, width: int) -> str:
    """A specification of ``to_spec`` as SVG, ``width`` pixels wide if it is as wide as its container."""
    fitted = {**spec, "width": width} if spec.get("width") == "container" else spec
    return _renumbered(vl_convert.vegalite_to_svg(_seen(still(fitted)), vl_version=VEGALITE))


def _seen(value: Any, data: bool = False) -> Any:
    """Return a specification with what isn't drawn, in names from models, written as escapes.

    Their backslashes, and all in data, become a sign that looks like one: a text with a backslash is an error to
    vl-convert's measure of texts.
    """
    if value is None or isinstance(value, int | float):  # as most of the data is
        return value
    if isinstance(value, dict):
        return {_seen(key): _seen(each, data or key == "datasets") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_seen(each, data) for each in value]
    if not isinstance(value, str):
        return value
    return in_a_chart(value) if data or printable(value, lines=True) != value else value


def in_a_chart(name: str) -> str:
    """Return a name as charts show it.

    Example:
        >>> print(in_a_chart("fc\\x1b1"))
        fc⧵x1b1
    """
    return printable(name, lines=True).replace("\\", "\N{REVERSE SOLIDUS OPERATOR}")


def beside(svgs: Sequence[str], columns: int) -> str:
    """Drawn panels as one SVG, in rows of ``columns``.

    Example:
        >>> panel = '<svg width="10" height="5"></svg>'
        >>> beside([panel, panel], columns=2)[:68]
        '<svg xmlns="http://www.w3.org/2000/svg" width="44" height="5" viewBo'
    """
    if len(svgs) == 1:
        return svgs[0]
    sizes = [size(svg) for svg in svgs]
    wide = max(width for width, _ in sizes) + GUTTER
    heights = [max(height for _, height in sizes[i : i + columns]) + GUTTER for i in range(0, len(svgs), columns)]
    parts = []
    for k, svg in enumerate(svgs):
        row, column = divmod(k, columns)
        apart = re.sub(r"( id=\"|url\(#)", rf"\g<1>panel{k}-", svg)
        parts.append(apart.replace("<svg ", f'<svg x="{column * wide}" y="{sum(heights[:row])}" ', 1))
    whole = f"{wide * columns - GUTTER:g}", f"{sum(heights) - GUTTER:g}"
    head = f'width="{whole[0]}" height="{whole[1]}" viewBox="0 0 {whole[0]} {whole[1]}"'
    paper = '<rect width="100%" height="100%" fill="white"/>'  # as under each panel; else a dark page shows between
    return f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{paper}{"".join(parts)}</svg>'


def size(svg: str) -> tuple[float, float]:
    """Width and height an SVG says it has.

    Example:
        >>> size('<svg width="10" height="5.5"></svg>')
        (10.0, 5.5)
    """
    head = svg[: svg.index(">")]
    width, height = (re.search(rf' {side}="([\d.]+)', head) for side in ("width", "height"))
    if not (width and height):
        raise ValueError(f"an SVG without width and height can't be placed: {head}>")
    return float(width[1]), float(height[1])


def to_svg(charts: Charts, width: int = 760, columns: int = 2) -> str:
    """One SVG of a chart, or of several as panels in rows of ``columns``, ``width`` pixels wide."""
    parts = as_list(charts)
    each = panel_width(width, len(parts), columns)
    return beside([drawn(to_spec(part), each) for part in parts], columns)


def panel_width(width: int, panels: int, columns: int) -> int:
    """Pixels for each of so many panels in rows of at most ``columns``.

    Example:
        >>> panel_width(760, panels=4, columns=2), panel_width(760, panels=1, columns=2)
        (368, 760)
    """
    across = min(columns, panels)
    return (width - GUTTER * (across - 1)) // across


def save_svg(svg: str, stem: Path) -> tuple[Path, Path]:
    """Write a drawn figure as ``stem.svg`` and, at twice its pixels, as ``stem.png``: each whole, or not at all.

    Returns:
        The two paths, SVG first.
    """
    paths = Path(f"{stem}.svg"), Path(f"{stem}.png")
    write_whole(paths[0], svg.encode())
    write_whole(paths[1], rasterised(svg))
    return paths


def rasterised(svg: str) -> bytes:
    """A drawn figure as PNG, at twice its pixels."""
    # A browser borrows one missing glyph from another font; the rasteriser then sets the whole line in the first
    # font it meets that has it, often one with serifs. So such a line asks for a font that has them all.
    lines = BEYOND_ARIAL.sub(rf"\g<1>{WIDE_COVERAGE}\g<2>", svg)
    return vl_convert.svg_to_png(lines, scale=PNG_SCALE)


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that sets ``window.vegaEmbed``; about 0.9 MB."""
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGALITE)
    return script.replace("</script", "<\\/script")


def as_list(charts: Charts) -> list[ChartType]:
    """One chart or several, as a list."""
    return list(charts) if isinstance(charts, Sequence) else [charts]


def _renumbered(svg: str) -> str:
    """Vega counts the ids it gives through the life of a process; the same chart shall be the same file."""
    ids = {name: f"i{k}" for k, name in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', svg)))}
    return re.sub(r'( id="|url\(#)([^")]+)', lambda found: found[1] + ids[found[2]], svg)


def _nearest(parameter: Mapping[str, Any]) -> bool:
    select = parameter.get("select")
    return isinstance(select, Mapping) and bool(select.get("nearest"))


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(under)
    for key, value in over.items():
        inner = both.get(key)
        both[key] = _merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return both
