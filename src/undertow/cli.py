"""The ``undertow`` command: parse, call, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from undertow.commands import comparing, examining, explaining, serving, showing, studying, sweeping
from undertow.commands.target import UserCodeError

app = typer.Typer(
    help="Why is this deep network hard to train?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


@app.callback()
def undertow() -> None:
    """Measure how fast each layer of a deep network learns, and why the front ones often hardly do."""


@app.command()
def chapter5(
    members: Annotated[
        int | None, typer.Option(min=1, help="Networks of each kind, from different seeds; 8, or 2 with --quick.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and results.json.")] = Path("chapter5"),
    data: Annotated[
        str, typer.Option(help="mnist, digits (offline, scikit-learn's), or a folder of IDX files.")
    ] = "mnist",
    quick: Annotated[bool, typer.Option("--quick", help="A taste: 3 epochs, 50 steps, fewer networks.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Where all randomness starts.")] = 0,
    check: Annotated[
        Path | None, typer.Option(help="Recompute what can be recomputed of the results in this folder.")
    ] = None,
) -> None:
    """Reproduce chapter 5 of Nielsen's book: every figure and every number, on one page."""
    from undertow.studies import chapter5 as study

    if check:
        verdicts = study.check(check, data, console)
        console.print(*map(str, verdicts), sep="\n", soft_wrap=True)
        raise typer.Exit(any(verdict.holds is False for verdict in verdicts))
    try:
        page = study.run(out, study.Protocol.of(members, seed, quick), data, console)
    except KeyboardInterrupt:
        errors.print("undertow: stopped; nothing was written")
        raise typer.Exit(130) from None
    console.print(f"[bold]{page}[/bold] is the page, {out / 'results.json'} holds the numbers", soft_wrap=True)


@app.command()
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


for command in (
    examining.examine,
    examining.check,
    comparing.diff,
    explaining.rule,
    showing.show,
    serving.serve,
    sweeping.sweep,
    studying.study,
):
    app.command()(command)


def main() -> None:
    """Run the command; what a user can mend is told in one line, without a traceback."""
    try:
        app()
    except UserCodeError as error:
        errors.print(f"{error.told}undertow: {error}", soft_wrap=True, markup=False)
        sys.exit(2)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        errors.print(f"undertow: {error}", soft_wrap=True, markup=False)
        sys.exit(2)
