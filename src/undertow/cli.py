"""The ``undertow`` command: parse, call, print."""

import sys

import typer
from rich.console import Console

from undertow.commands import chapter5, comparing, examining, explaining, predict, serving, showing, study, sweep
from undertow.commands.target import UserCodeError

app = typer.Typer(
    help="Why is this deep network hard to train?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
errors = Console(stderr=True, highlight=False)


@app.callback()
def undertow() -> None:
    """Measure how fast each layer of a deep network learns, and why the front ones often hardly do."""


for command in (
    chapter5.chapter5,
    predict.predict,
    examining.examine,
    examining.check,
    comparing.diff,
    explaining.rule,
    showing.show,
    serving.serve,
    sweep.sweep,
    study.study,
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
