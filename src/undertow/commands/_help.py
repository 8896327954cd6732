"""Help as people read it: a flag takes no value."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help shows flags as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; a flag is shown without a type."""
        return _plain(super().get_params(ctx))


class Commands(TyperGroup):
    """The command that holds the others, with flags shown as flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters; a flag is shown without a type."""
        return _plain(super().get_params(ctx))


def _plain(parameters: list[Any]) -> list[Any]:
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters
