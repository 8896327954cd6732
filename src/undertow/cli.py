"""The ``undertow`` command: parse, call, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
    members: Annotated[int, typer.Option(min=1, help="Networks of each kind, from different seeds.")] = 8,
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and results.json.")] = Path("chapter5"),
    data: Annotated[
        str, typer.Option(help="mnist, digits (offline, scikit-learn's), or a folder of IDX files.")
    ] = "mnist",
    quick: Annotated[bool, typer.Option("--quick", help="A taste: 2 members, 3 epochs, 50 steps.")] = False,
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
    page = study.run(out, study.Protocol.of(members, seed, quick), data, console)
    console.print(f"[bold]{page}[/bold] is the page, {out / 'results.json'} holds the numbers", soft_wrap=True)


def main() -> None:
    """Run the command; what a user can mend is told in one line, without a traceback."""
    try:
        app()
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        errors.print(f"undertow: {error}", soft_wrap=True, markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("undertow: stopped")
        sys.exit(130)
