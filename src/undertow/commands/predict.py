"""``undertow predict``: what theory expects of a network before it is trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from undertow.files import write_whole

if TYPE_CHECKING:
    from undertow.theory.forecasting import Forecast

EXAMPLE = "undertow predict --activation tanh --depth 50 --out tanh.html"

console = Console(highlight=False)


def predict(
    activation: Annotated[str, typer.Option(help="Of every layer: tanh, relu, gelu, sigmoid, ...")],
    weight_var: Annotated[float, typer.Option(help="n_in Var W: 1 for LeCun's and Glorot's start, 2 for He's.")] = 1.0,
    bias_var: Annotated[float, typer.Option(help="Var b.")] = 0.0,
    depth: Annotated[int, typer.Option(min=1, max=10_000, help="Layers.")] = 50,
    width: Annotated[int | None, typer.Option(min=1, help="Units a layer, for the spread between networks.")] = None,
    out: Annotated[Path, typer.Option(help="Where the chart goes: .png, .svg, .html (a page) or .json.")] = Path(
        "predict.png"
    ),
) -> None:
    """Tell what theory expects of a network before it is trained: does its gradient vanish or explode?"""
    from undertow.render import terminal_forecast
    from undertow.theory.forecasting import Forecast

    if out.suffix.lower() not in WRITERS:  # asked early, it spares a user the wait for a refusal
        raise ValueError(f"can't write {out}: its name decides the kind of file, which is one of {', '.join(WRITERS)}")
    expected = Forecast.of(activation, weight_var, bias_var, depth=depth, width=width or float("inf"))
    console.print(terminal_forecast.text(expected))
    write_whole(out, WRITERS[out.suffix.lower()](expected))
    console.print(f"\nwrote [bold]{out}[/bold]", soft_wrap=True)


# Charts take half a second to load, and only these need them.
def _html(forecast: "Forecast") -> bytes:
    from undertow.render import forecast_page

    return forecast_page.article(forecast).html().encode()


def _svg(forecast: "Forecast") -> bytes:
    from undertow.render import figures, forecast_page

    return figures.to_svg(forecast_page.chart(forecast)).encode()


def _png(forecast: "Forecast") -> bytes:
    from undertow.render import figures

    return figures.rasterised(_svg(forecast).decode())


def _json(forecast: "Forecast") -> bytes:
    from undertow.render.forecast import to_dict

    return json.dumps(to_dict(forecast), indent=2, allow_nan=False).encode()


WRITERS: dict[str, Callable[["Forecast"], bytes]] = {".html": _html, ".png": _png, ".svg": _svg, ".json": _json}
"""How a forecast is written, by suffix."""
