"""Cells that call a user's function, FILE.py:FUNCTION, with their settings as keyword arguments."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from undertow.jsonable import jsonable
from undertow.sweeping.cells import Cell, Pack, Tick, storable, unheard
from undertow.sweeping.naming import meant
from undertow.sweeping.spec import Settings
from undertow.tables import whole
from undertow.user_function import function_of, own_traceback, split


@dataclass(frozen=True)
class FunctionWork:
    """A user's function; see `undertow.sweeping.cells.Work`.

    Attributes:
        target: FILE.py:FUNCTION with the whole path.
        version: of what it computes.
    """

    target: str
    version: int = 1

    @property
    def name(self) -> str:
        """File, function and version."""
        file, name = split(self.target)
        return f"{file.name}:{name}, version {self.version}"

    def recorded(self, settings: Settings) -> Settings:
        """Return what the function is called with, its own defaults included where they are plain values."""
        return {**_arguments(self.target).defaults, **settings}

    def identity(self, settings: Settings) -> Mapping[str, Any]:
        """File name, function, version and settings: a project may move, and its file be edited."""
        file, name = split(self.target)
        return {"work": f"{file.name}:{name}", "version": self.version, "settings": settings}

    def problems(self, settings: Settings) -> list[str]:
        """Settings that the function doesn't take, and arguments that it misses."""
        takes, name = _arguments(self.target), self.target.rpartition(":")[2]
        unknown = [] if takes.everything else [key for key in settings if key not in takes.names]
        missing = [key for key in takes.needed if key not in settings]
        return [f"{name}() has no argument {key!r}: {meant(key, takes.names)}" for key in unknown] + [
            f"{name}() needs the argument {key!r}, which the cell doesn't set" for key in missing
        ]

    def packs(self, cells: Sequence[Cell], most: int | None) -> list[Pack]:
        """Put each cell by itself into a pack."""
        del most
        return [Pack((cell,), 1.0) for cell in cells]

    def prepare(self) -> None:
        """Load the file, and if that has loaded torch, give it one thread."""
        _function(self.target)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    def run(self, cells: Sequence[Settings], tick: Tick = unheard) -> list[dict[str, Any]]:
        """Call it for each."""
        del tick
        return [_result(_function(self.target)(**settings)) for settings in cells]

    def traceback(self, error: BaseException) -> str:
        """From the user's file on."""
        return own_traceback(error, split(self.target)[0])


@cache
def _function(target: str) -> Callable[..., Any]:
    return function_of(target)


class _Arguments(NamedTuple):
    names: list[str]
    needed: list[str]
    defaults: Settings
    everything: bool


@cache
def _arguments(target: str) -> _Arguments:
    parameters = inspect.signature(_function(target)).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return _Arguments(
        names=[p.name for p in named],
        needed=[p.name for p in named if p.default is p.empty],
        defaults={p.name: p.default for p in named if isinstance(p.default, bool | int | float | str)},
        everything=any(p.kind == p.VAR_KEYWORD for p in parameters),
    )


def _result(returned: Any) -> dict[str, Any]:
    named = returned if isinstance(returned, Mapping) else {"value": returned}
    found = {whole(str(name)): whole(jsonable(value)) for name, value in named.items()}
    if len(found) < len(named):
        raise TypeError("two results have the same name as text: give each its own")
    for name, value in zip(found, named.values(), strict=True):
        if not storable(found[name], missing=True):
            raise TypeError(
                f"the result {name!r} is a {type(value).__name__}: return numbers, texts, or lists of them, by name"
            )
    # The driver has no class of the user's: a number or text of one becomes a plain one here.
    plain: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    return plain
