"""A cell of a sweep and its key, packs of cells, and what became of them."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from undertow.sweeping.spec import Settings

KEY_LENGTH = 24
"""Hexadecimal digits of a cell's key: in a million cells, two alike by chance once in 10^17 sweeps."""


Tick = Callable[[int], object]
"""Called with how many more steps of a pack are done."""


def unheard(_steps: int) -> None:
    """Take a tick where nobody shows how far a pack is."""


class Cell(NamedTuple):
    """One cell: its key in the store, and its settings as written in the specification."""

    key: str
    settings: Settings


@dataclass(slots=True)
class Pack:
    """Cells that are computed together, in one ensemble; a user's function computes packs of one.

    Attributes:
        cells: in their order, which decides the last bits of their results.
        cost: how long it will take, in a unit common to all packs of a sweep.
        attempts: how often it has failed.
        losses: how often the worker that had it, and nothing else, was lost.
    """

    cells: tuple[Cell, ...]
    cost: float
    attempts: int = 0
    losses: int = 0


class CellOutcome(NamedTuple):
    """Tell what became of one cell: a result, or an error with its traceback."""

    result: Any
    error: str | None = None
    traceback: str | None = None


class Work(Protocol):
    """Do something for packs of cells in a process. It is sent to wherever that is."""

    def prepare(self) -> None:
        """Get ready: called once in every process before `run`."""

    def run(self, cells: Sequence[Settings], tick: Tick = unheard) -> list[Any]:
        """Return the results of a pack's cells; any exception is the pack's failure.

        A sweep keeps results as JSON. Work that takes long calls ``tick`` on the way.
        """

    def traceback(self, error: BaseException) -> str:
        """Return the part of an exception's traceback that tells a reader something."""


class SweepWork(Work, Protocol):
    """Do what a sweep does for a cell: train the lab's networks or call a user's function."""

    @property
    def name(self) -> str:
        """The name of what is done; results of two names are never mixed."""

    def recorded(self, settings: Settings) -> Settings:
        """Return the settings as the store shows them, defaults included."""

    def identity(self, settings: Settings) -> Mapping[str, Any]:
        """Return what makes the cell the one it is: equal mappings, equal cells."""

    def problems(self, settings: Settings) -> list[str]:
        """Return why this cell is impossible; empty if it isn't."""

    def packs(self, cells: Sequence[Cell], most: int | None) -> list[Pack]:
        """Return the cells in packs, which depend on nothing but these cells."""


def key_of(identity: Mapping[str, Any]) -> str:
    """Return the key of a cell: the beginning of the SHA-256 of what it is, as JSON with sorted names.

    1 and 1.0 are the same number.

    Example:
        >>> key_of({"eta": 1.0, "depth": 3}) == key_of({"depth": 3, "eta": 1})
        True
        >>> key_of({"depth": 3})
        '1f5095ec7a7c8833ceafa42a'
    """
    text = json.dumps(_canonical(identity), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def storable(value: Any, missing: bool = False) -> bool:
    """Return whether a store can hold a value: a finite number, text, true or false, or a list of these.

    Text with half a surrogate pair in it, which no file and no database takes, is none.

    Args:
        value: a setting, or a result.
        missing: whether None is one, too, as it is among results.

    Example:
        >>> storable([1, "tanh", False]), storable(float("nan")), storable(None), storable(None, missing=True)
        (True, False, False, True)
    """
    if isinstance(value, list | tuple):
        return all(storable(each, missing) for each in value)
    if value is None:
        return missing
    if isinstance(value, str):
        return not any("\ud800" <= sign <= "\udfff" for sign in value)
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, bool | int)
