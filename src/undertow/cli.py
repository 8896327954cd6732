"""The ``undertow`` command: find the commands, parse, call, print."""

import pkgutil
import sys
from importlib import import_module

import typer
from rich.console import Console

from undertow import commands
from undertow.user_function import UserCodeError

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


# A command is a module of `commands` with a function of its own name; what begins with _ is shared by some.
for module in pkgutil.iter_modules(commands.__path__):
    if not module.name.startswith("_"):
        app.command()(getattr(import_module(f"undertow.commands.{module.name}"), module.name))


def main() -> None:
    """Run the command; what a user can mend is told in one line, without a traceback."""
    try:
        app()
    except UserCodeError as error:
        errors.print(f"{error.traceback}undertow: {error}", soft_wrap=True, markup=False)
        sys.exit(2)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        errors.print(f"undertow: {error}", soft_wrap=True, markup=False)
        sys.exit(2)
