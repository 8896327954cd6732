"""The ``undertow`` command: find the commands, parse, call, print."""

import pkgutil
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from rich.console import Console
from typer.core import TyperGroup

from undertow import commands
from undertow.user_function import UserCodeError


class CommandsByName(Mapping[str, Any]):
    """Load a command when it is asked for by name, and no other: nobody waits for what another command needs.

    A command is a module of `commands` with a function of its own name; a module whose name begins with _ is shared.
    """

    def __getitem__(self, name: str) -> Any:
        if name not in [*self]:
            raise KeyError(name)
        return _loaded(name)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in pkgutil.iter_modules(commands.__path__) if not each.name.startswith("_"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _loaded(name: str) -> Any:
    alone = typer.Typer(add_completion=False)
    alone.command(name)(getattr(import_module(f"undertow.commands.{name}"), name))
    return typer.main.get_command(alone)


class LazyGroup(TyperGroup):
    """Offer the commands of `CommandsByName`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": {}})
        self.commands = cast("Any", CommandsByName())  # typer only reads it

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names without loading one."""
        del ctx
        return list(self.commands)


app = typer.Typer(
    cls=LazyGroup,
    help="Why is this deep network hard to train?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
errors = Console(stderr=True, highlight=False)


@app.callback()
def undertow() -> None:
    """Measure how fast each layer of a deep network learns, and why the front ones often hardly do."""


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
