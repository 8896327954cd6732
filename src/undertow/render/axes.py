"""Channels that charts share: a logarithmic axis that reads well, the colours of layers, tooltips."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt

from undertow.render.rows import Row
from undertow.render.theme import CATEGORY_COLOURS, LAYER, layer_scale

LAYER_TITLE = "layer"
"""A legend with this title is one of layers: the page makes it clickable."""

LEGEND_WIDTH = 275
"""Pixels: what a legend may take, on a phone too."""

LETTER, SYMBOL = 6.4, 26
"""Pixels: what a letter of a legend takes, about, and the symbol before a name with the gap after it."""

LAYERS_IN_A_ROW = 6

Domain = tuple[float, float]


def measured(values: Iterable[float], domain: Domain | None = None, log: bool = False) -> dict[str, Any]:
    """Scale and axis of a quantity, as keyword arguments of an altair channel.

    Args:
        values: all that the axis must hold; a logarithmic one ends where they end.
        domain: ends to use instead.
        log: logarithmic, labelled by ``log_ticks``.

    Example:
        >>> measured([0.01, 1.0], log=True)["axis"].to_dict()
        {'format': '~g', 'values': [0.01, 0.1, 1.0]}
    """
    if not log:
        scale = alt.Scale(domain=list(domain), nice=False) if domain else alt.Scale()
        return {"scale": scale, "axis": alt.Axis(tickCount=5)}
    there = [v for v in values if v > 0] or [1.0]
    low, high = domain or (min(there) / 1.12, max(there) * 1.12)
    scale = alt.Scale(type="log", domain=[float(f"{low:.4g}"), float(f"{high:.4g}")], nice=False)
    ticks = log_ticks(low, high)
    if low < 0.9e-4 or high > 1.1e5:
        return {"scale": scale, "axis": alt.Axis(values=ticks, labelExpr=_POWER_OF_TEN)}
    return {"scale": scale, "axis": alt.Axis(values=ticks, format="~g")}


def log_ticks(low: float, high: float) -> list[float]:
    """Choose where a logarithmic axis is labelled: powers of ten, fewer over many decades, more digits over a few.

    Example:
        >>> log_ticks(0.0002, 0.4), log_ticks(0.02, 0.4)
        ([0.001, 0.01, 0.1], [0.02, 0.05, 0.1, 0.2])
        >>> log_ticks(1e-12, 1)
        [1e-12, 1e-09, 1e-06, 0.001, 1.0]
    """
    first, last = math.floor(math.log10(low) + 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first) / 5))
    powers = [k for k in range(first, last + 1) if k % stride == 0]
    for digits in ((10,), (10, 20, 50), (10, 20, 30, 50, 70), range(10, 100, 10), range(10, 100)):
        ticks = [float(f"{d}e{k - 1}") for k in powers for d in digits]
        within = [tick for tick in ticks if low <= tick * (1 + 1e-9) and tick <= high * (1 + 1e-9)]
        if len(within) >= 3:
            return within[:: -(-len(within) // 9)]
    return [float(f"{low:.4g}"), float(f"{high:.4g}")]


class _Table(alt.InlineData):
    """Rows that every copy of a chart shares: altair copies charts at each step of their making, and all rows too."""

    def __deepcopy__(self, memo: object = None) -> "_Table":
        return self


def charted(table: Sequence[Row]) -> alt.Chart:
    """A chart of these rows, with nothing drawn yet; nobody changes them from here on."""
    return alt.Chart(_Table(values=list(table)))


def layered(parts: Sequence[alt.Chart], title: str, height: int) -> alt.LayerChart:
    """Parts over each other as one panel that knows the chosen layer."""
    titled: dict[str, Any] = {"title": title} if title else {}
    return alt.LayerChart(layer=list(parts), height=height, **titled).add_params(LAYER)


def coloured(field: str, table: Sequence[Row], legend: bool = True, beside: str = "") -> alt.Color:
    """Colour by layer where the field is ``layer`` (numbers from 1), by the categorical palette otherwise.

    ``beside`` is what another legend beside this one says, so that there is room for both.

    Example:
        >>> coloured("layer", [{"layer": 1}, {"layer": 2}]).to_dict()["scale"]["range"]
        ['#06304a', '#4b0fb4']
    """
    if field == "layer":
        scale = layer_scale(max((row["layer"] for row in table), default=1))
        layers = sorted({row["layer"] for row in table})
        rows: dict[str, Any] = {"columns": -(-len(layers) // 2)} if len(layers) > LAYERS_IN_A_ROW else {}
        titled = alt.Legend(title=LAYER_TITLE, values=layers, **rows) if legend else None
        return alt.Color(field=field, type="ordinal", scale=scale, legend=titled)
    scale = alt.Scale(range=list(CATEGORY_COLOURS))
    named = (
        alt.Legend(title=None, **_wrapped(list(dict.fromkeys(str(row.get(field)) for row in table)), beside))
        if legend
        else None
    )
    return alt.Color(field=field, type="nominal", scale=scale, sort=None, legend=named)


def _wrapped(names: Sequence[str], beside: str = "") -> dict[str, Any]:
    """So many columns that a legend isn't cut off at the edge of a narrow panel; nothing where one row has room.

    Example:
        >>> _wrapped(["plain", "BatchNorm", "LayerNorm", "residual", "residual + norm"]), _wrapped(["tanh", "ReLU"])
        ({'columns': 2}, {})
    """
    room = LEGEND_WIDTH - (LETTER * len(beside) + 2 * SYMBOL if beside else 0)
    for columns in range(len(names), 1, -1):
        widest = (max(map(len, names[first::columns])) for first in range(columns))
        if sum(LETTER * letters + SYMBOL for letters in widest) <= room:
            return {} if columns == len(names) else {"columns": columns}
    return {"columns": 1} if len(names) > 1 else {}


def tooltip(fields: Mapping[str, str], table: Sequence[Row]) -> list[alt.Tooltip]:
    """Tooltip lines, field -> title; measured numbers to three digits, the rest as it is.

    Example:
        >>> [line.to_dict() for line in tooltip({"speed": "speed"}, [{"speed": 0.1234}])]
        [{'field': 'speed', 'format': '.3~g', 'title': 'speed', 'type': 'quantitative'}]
    """
    lines = []
    for field, title in fields.items():
        if any(isinstance(row.get(field), float) for row in table):
            lines.append(alt.Tooltip(field=field, type="quantitative", title=title, format=".3~g"))
        else:
            lines.append(alt.Tooltip(field=field, type="nominal", title=title))
    return lines


_EXPONENT = "floor(log(datum.value) / LN10 + 1e-9)"
_MANTISSA = f"round(100 * datum.value / pow(10, {_EXPONENT})) / 100"
_DIGITS = "['⁰','¹','²','³','⁴','⁵','⁶','⁷','⁸','⁹']"
_POWER_OF_TEN = (
    f"({_MANTISSA} > 1 ? {_MANTISSA} + '×' : '') + '10' + ({_EXPONENT} < 0 ? '⁻' : '')"
    f" + (abs({_EXPONENT}) > 9 ? {_DIGITS}[floor(abs({_EXPONENT}) / 10)] : '') + {_DIGITS}[abs({_EXPONENT}) % 10]"
)
