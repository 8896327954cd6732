"""A forecast for those who read it: tables for the terminal, a chart, a page, and numbers for programs."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as Grid

from undertow.files import write_whole
from undertow.render import figures, page
from undertow.render.charts import curves_with_bands
from undertow.render.rows import number
from undertow.theory.forecasting import Forecast

LAYERS_SHOWN = 9
SMALLEST = -300.0
"""Decades below which a number is left off a chart: a browser's numbers end there."""

UNBOUNDED = "none: grows without bound"


def text(forecast: Forecast) -> RenderableType:
    """The forecast as two tables for a rich console.

    Example:
        >>> from rich.console import Console
        >>> Console(width=80).print(text(Forecast.of("sigmoid", 1.0, 1.0, depth=3)))  # doctest: +SKIP
    """
    facts = Grid.grid(padding=(0, 2))
    for name, value, meaning in summary(forecast):
        facts.add_row(name, f"[bold]{value}[/bold]", f"[dim]{meaning}[/dim]")
    layers = Grid(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    for heading in headings(forecast):
        layers.add_column(heading, justify="right")
    for row in layer_rows(forecast):
        layers.add_row(*row)
    return Group(f"[bold]{title(forecast)}[/bold]", "", facts, "", layers)


def title(forecast: Forecast) -> str:
    """Return the network that the forecast is of, in a line.

    Example:
        >>> title(Forecast.of("tanh", 1.0, 0.05, depth=50, width=300))
        'tanh, weight variance 1/n, bias variance 0.05: 50 layers of 300 units'
    """
    weights = f"{forecast.weight_var:g}/n" if forecast.weight_var else "0"
    units = f" of {forecast.width:g} units" if math.isfinite(forecast.width) else ", infinitely wide"
    layers = f"{forecast.depth} layer{'s' * (forecast.depth > 1)}"
    return f"{forecast.activation}, weight variance {weights}, bias variance {forecast.bias_var:g}: {layers}{units}"


def summary(forecast: Forecast) -> list[tuple[str, str, str]]:
    """Name, value and meaning of everything that holds deep inside the network.

    Example:
        >>> [row[:2] for row in summary(Forecast.of("sigmoid", 1.0, 1.0, depth=5))[:3]]
        [('q*', '1.3'), ('χ₁', '0.042'), ('phase', 'ordered: gradients vanish')]
    """
    at_rest = UNBOUNDED if forecast.q_star is None else number(forecast.q_star)
    return [
        ("q*", at_rest, "variance of z deep inside"),
        ("χ₁", number(forecast.chi), "squared gradient, times this a layer"),
        ("phase", PHASES[forecast.phase], "of the two, and the edge between them"),
        ("√χ₁", number(forecast.norm_factor), "gradient's norm, times this a layer"),
        ("ξ_q", _layers(forecast.xi_q), "until z's variance is e-fold nearer to q*"),
        ("ξ_c", _layers(forecast.xi_c), "until two inputs' correlation settles, e-fold"),
        ("ξ_grad", _layers(forecast.xi_grad), "per e-fold of squared gradient (−: it grows)"),
        ("trainable", _layers(forecast.trainable_depth, "up to "), "6 ξ_c: Schoenholz et al.'s rule of thumb"),
    ]


PHASES = {
    "ordered": "ordered: gradients vanish",
    "chaotic": "chaotic: gradients explode",
    "critical": "critical: on the edge",
    None: "none: the signal never settles",
}


def headings(forecast: Forecast) -> list[str]:
    """Return the headings of the columns of `layer_rows`."""
    spread = ["95 % of networks"] if math.isfinite(forecast.width) else []
    return ["layer", "variance q", "‖δˡ‖/‖δᴸ‖ expected", *spread, "χ"]


def layer_rows(forecast: Forecast) -> list[list[str]]:
    """Layers from the first to the last, evenly spaced: q, the expected norm of δ relative to the last layer's, χ.

    Example:
        >>> layer_rows(Forecast.of("relu", 1.0, depth=3))
        [['1', '1', '0.5', '0.5'], ['2', '0.5', '0.707', '0.5'], ['3', '0.25', '1', '–']]
    """
    layers, (low, high) = forecast.layers, forecast.interval()
    rows = []
    for l in _shown(forecast.depth):
        spread = [f"{power(low[l])} to {power(high[l])}"] if math.isfinite(forecast.width) else []
        chi = number(float(layers.chi[l])) if l < len(layers.chi) else "–"
        rows.append([str(l + 1), number(float(layers.q[l])), power(layers.decades[l]), *spread, chi])
    return rows


def power(decades: float) -> str:
    """10 to the power of so many decades, also where it is too small or large for a float.

    Example:
        >>> power(-3.0), power(-412.5), power(-float("inf"))
        ('0.001', '3.2×10⁻⁴¹³', '0')
    """
    if math.isinf(decades):
        return "0" if decades < 0 else "not finite"
    if abs(decades) < -SMALLEST:
        return number(10.0 ** float(decades))
    whole = math.floor(decades)
    return f"{10 ** (decades - whole):.1f}\u00d710{str(whole).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def chart(forecast: Forecast, height: int = 300) -> alt.LayerChart:
    """Expected ||δ^l|| relative to the last layer's, layer by layer, with the band of 95 % of networks."""
    wide, (low, high) = not math.isfinite(forecast.width), forecast.interval()
    rows = [
        {
            "place": l + 1,
            "norm": _plotted(forecast.layers.decades[l]),
            "low": _plotted(low[l]),
            "high": _plotted(high[l]),
            "of": "expected" if wide else "expected, and 95 % of networks",
        }
        for l in range(forecast.depth)
    ]
    return curves_with_bands(
        rows,
        x="place",
        y="norm",
        low=None if wide else "low",
        high=None if wide else "high",
        colour="of",
        x_title="layer",
        y_title="norm of the gradient, relative to the last layer",
        band_title="95 % of networks",
        title=title(forecast),
        height=height,
    )


def save(forecast: Forecast, path: Path) -> Path:
    """Write the forecast: a page (.html), a chart (.png, .svg) or its numbers (.json), by the path's suffix.

    Raises:
        ValueError: another suffix; the message lists these.
        OSError: the path can't be written to.
    """
    writer(path)(forecast, path)
    return path


def writer(path: Path) -> Callable[[Forecast, Path], None]:
    """Return what writes files with this path's suffix; asked early, it spares a user the wait for a refusal.

    Raises:
        ValueError: nothing does.

    Example:
        >>> writer(Path("predict.pdf"))
        Traceback (most recent call last):
        ValueError: can't write predict.pdf: its name decides the kind of file, which is one of .html, .png, .svg, .json
    """
    try:
        return WRITERS[path.suffix.lower()]
    except KeyError:
        raise ValueError(
            f"can't write {path}: its name decides the kind of file, which is one of {', '.join(WRITERS)}"
        ) from None


def article(forecast: Forecast) -> page.Article:
    """The forecast as a page: chart, what holds deep inside, and every layer's numbers."""
    return page.Article(
        "What theory expects",
        subtitle=title(forecast),
        sections=[
            page.Section(
                "gradient",
                "The gradient, layer by layer",
                [
                    page.Figure(
                        "norms",
                        chart(forecast),
                        "The gradient on its way back",
                        _caption(forecast),
                        page.Table(headings(forecast), layer_rows(forecast)),
                    ),
                    page.Table(["", "", ""], summary(forecast), "Deep inside the network", "inside"),
                ],
            )
        ],
    )


def _caption(forecast: Forecast) -> str:
    if math.isinf(forecast.width):
        return "Root mean square over random networks, infinitely wide."
    return f"Root mean square over random networks, and where 95 % of those {forecast.width:g} units wide fall."


def _save_page(forecast: Forecast, path: Path) -> None:
    article(forecast).write(path)


def _save_svg(forecast: Forecast, path: Path) -> None:
    write_whole(path, figures.to_svg(chart(forecast)).encode())


def _save_png(forecast: Forecast, path: Path) -> None:
    write_whole(path, figures.rasterised(figures.to_svg(chart(forecast))))


def _save_json(forecast: Forecast, path: Path) -> None:
    write_whole(path, json.dumps(as_data(forecast), indent=2, allow_nan=False).encode())


WRITERS: dict[str, Callable[[Forecast, Path], None]] = {
    ".html": _save_page,
    ".png": _save_png,
    ".svg": _save_svg,
    ".json": _save_json,
}


def as_data(forecast: Forecast) -> dict[str, Any]:
    """Plain values for JSON; what isn't finite or doesn't exist is None.

    Example:
        >>> as_data(Forecast.of("relu", 4.0, depth=2, width=8))["width"]
        8
    """
    layers = {name: [_finite(v) for v in values] for name, values in vars(forecast.layers).items()}
    low, high = forecast.interval()
    ends = {"low": [_finite(v) for v in low], "high": [_finite(v) for v in high]}
    given = {name: _finite(value) for name, value in vars(forecast).items() if name != "layers"}
    return {**given, "norm_factor": forecast.norm_factor, "layers": {**layers, **ends}}


def _finite(value: Any) -> Any:
    if isinstance(value, str | int) or value is None:
        return value
    return float(value) if math.isfinite(value) else None


def _shown(depth: int) -> list[int]:
    return sorted(set(np.linspace(0, depth - 1, min(depth, LAYERS_SHOWN)).round().astype(int).tolist()))


def _plotted(decades: float) -> float | None:
    return float(10.0**decades) if decades > SMALLEST else None


def _layers(value: float | None, before: str = "") -> str:
    if value is None:
        return "–"
    return f"{before}{value:.3g} layers" if math.isfinite(value) else "any depth" if before else "∞"
