"""Say in a sentence what is seen in a chart, for those who don't see it: its marks, what they measure, their reach."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undertow.formatting import number

Spec = Mapping[str, Any]
Encoding = Mapping[str, Any]

KINDS = {
    "line": "Curves", "area": "Areas", "bar": "Bars", "rect": "Coloured cells", "point": "Points", "circle": "Dots",
    "image": "Pictures", "square": "Squares", "tick": "Ticks",
}  # fmt: skip
MOST_NAMED = 8


def seen(spec: Spec) -> str:
    """Describe the chart of a specification; a panel's title comes first.

    Example:
        >>> rows = [{"epoch": 0, "speed": 0.5}, {"epoch": 3, "speed": 0.0625}]
        >>> seen({"mark": "line", "data": {"values": rows}, "encoding": {
        ...     "x": {"field": "epoch", "type": "quantitative"},
        ...     "y": {"field": "speed", "type": "quantitative", "title": "speed of learning"}}})
        'Curves: speed of learning from 0.0625 to 0.5, over epoch from 0 to 3.'
    """
    title = spec.get("title", "")
    named = title if isinstance(title, str) else title.get("text", "")
    for unit in sorted(_units(spec), key=lambda unit: unit["kind"] == "area"):  # a band is not what it is the band of
        encoding, rows = unit["encoding"], unit["rows"]
        kind = KINDS.get(unit["kind"])
        if kind and rows and {"x", "y"} <= encoding.keys():
            parts = [_reach(encoding["y"], rows), "over " + _reach(encoding["x"], rows), *_colours(encoding, rows)]
            return f"{f'{named}. ' if named else ''}{kind}: {', '.join(parts)}."
    return f"{named}." if named else ""


def _units(spec: Spec, above: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Yield every layer that has marks, with its encoding and its rows, those of the outer ones taken over."""
    own = {**(above or {"encoding": {}, "rows": [], "datasets": spec.get("datasets", {})})}
    own["encoding"] = {**own["encoding"], **spec.get("encoding", {})}
    own["rows"] = _rows(spec.get("data", {}), own["datasets"]) or own["rows"]
    parts = [part for name in ("layer", "hconcat", "vconcat", "concat") for part in spec.get(name, ())]
    if isinstance(spec.get("spec"), Mapping):
        parts.append(spec["spec"])
    for part in parts:
        yield from _units(part, own)
    if "mark" in spec:
        mark = spec["mark"]
        yield {**own, "kind": mark if isinstance(mark, str) else mark.get("type")}


def _rows(data: Mapping[str, Any], datasets: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    rows = data.get("values") or datasets.get(str(data.get("name")), [])
    return rows if isinstance(rows, list) else []


def _title(channel: Encoding) -> str:
    return str(channel.get("title") or (channel.get("axis") or {}).get("title") or channel.get("field", "")).strip()


def _reach(channel: Encoding, rows: Sequence[Mapping[str, Any]]) -> str:
    values = [row.get(channel.get("field", "")) for row in rows]
    title = _title(channel)
    if channel.get("type") == "quantitative":
        numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
        return f"{title} from {number(min(numbers))} to {number(max(numbers))}" if numbers else title
    return f"{title} ({_listed(values)})" if title else _listed(values)


def _colours(encoding: Mapping[str, Encoding], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    colour = encoding.get("color", {})
    field = colour.get("field")
    if not field or field in (encoding["x"].get("field"), encoding["y"].get("field")):
        return []
    if colour.get("type") == "quantitative":
        return ["coloured by " + _reach(colour, rows)]
    return [f"for {field} {_listed([row.get(field) for row in rows])}" if field == "layer" else
            f"for {_listed([row.get(field) for row in rows])}"]  # fmt: skip


def _listed(values: Sequence[Any]) -> str:
    names = [str(value) for value in dict.fromkeys(values) if value is not None]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
