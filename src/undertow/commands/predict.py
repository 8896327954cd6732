"""``undertow predict``: what theory expects of a network before it is trained."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
    from undertow.render import forecast
    from undertow.theory.forecasting import Forecast

    forecast.writer(out)
    expected = Forecast.of(activation, weight_var, bias_var, depth=depth, width=width or float("inf"))
    console.print(forecast.text(expected))
    console.print(f"\nwrote [bold]{forecast.save(expected, out)}[/bold]", soft_wrap=True)
