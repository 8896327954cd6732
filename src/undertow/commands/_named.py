"""Commands by their names, each loaded when it is asked for, and their help as people read it."""

import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from undertow import commands

_PLAIN = (
    (r"^Value error, ", ""),
    (r"^Input should be greater than or equal to (\S+)$", r"give \1 or more"),
    (r"^Input should be less than or equal to (\S+)$", r"give \1 or less"),
    (r"^Input should be a valid integer.*$", "give a whole number"),
    (r"^Input should be a valid number.*$", "give a number"),
)
"""What a validator says of a value, and what people say."""


class Command(TyperCommand):
    """A command whose help shows flags as flags, and which refuses values in plain words."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; a flag is shown without a type."""
        return _plain(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = plainly(error.message)
            raise


def plainly(message: str) -> str:
    """Say in plain words what is wrong with a value.

    Example:
        >>> plainly("Input should be greater than or equal to 1"), plainly("Value error, 'x' is not one of 'a', 'b'.")
        ('give 1 or more', "'x' is not one of 'a', 'b'.")
    """
    for pattern, words in _PLAIN:
        message = re.sub(pattern, words, message)
    return message


class CommandsByName(Mapping[str, Any]):
    """Load a command when it is asked for by name, and no other: nobody waits for what another command needs.

    A command is a module of `commands` with a function of its own name; a module whose name begins with _ is shared.

    Example:
        >>> "check" in CommandsByName(), "_named" in CommandsByName()
        (True, False)
        >>> CommandsByName()["check"].name
        'check'
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
    module = import_module(f"undertow.commands.{name}")
    example = getattr(module, "EXAMPLE", f"undertow {name} --help")
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=Command, epilog=f"Example: {example}")(getattr(module, name))
    return typer.main.get_command(alone)


class Commands(TyperGroup):
    """The command that holds the others, with flags shown as flags."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": {}})
        self.commands = cast("Any", CommandsByName())  # typer only reads it

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names without loading one."""
        del ctx
        return [*self.commands]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; a flag is shown without a type."""
        return _plain(super().get_params(ctx))


def _plain(parameters: list[Any]) -> list[Any]:
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters
