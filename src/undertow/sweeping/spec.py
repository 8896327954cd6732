"""Specifications of sweeps, as they are written down: constants, grids, random draws, seeds.

function = "train.py:train"        # left away: the lab's networks
seeds = 5                          # or a list

[cell]                             # what all cells share
activation = "tanh"

[grid]                             # every combination; [[grid]] several times makes their union
depth = [5, 10, 20]
weight_var = { from = 0.5, to = 4.0, count = 20, spacing = "log" }

[random]                           # drawn; every draw with every combination of the grid
draws = 10
eta = { from = 1e-3, to = 1.0, spacing = "log" }

[run]
retries = 1
"""

import itertools
import math
import tomllib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from undertow.sweeping import axes
from undertow.sweeping.naming import check_keys

SPACINGS = ("linear", "log")
DIGITS = 12
"""Significant digits of a value between the ends of a range: enough, and free of the noise of rounding."""


def values(name: str, given: Any) -> list[Any]:
    """Return the values of one axis of a grid.

    Args:
        name: the setting, for messages.
        given: a list of values; or a table ``{from, to, count}`` with ``spacing = "log"`` and ``integer = true`` where
            wanted; both ends belong to the range.

    Raises:
        ValueError: an empty list, or a range that makes no sense.

    Example:
        >>> values("eta", {"from": 0.01, "to": 1.0, "count": 3, "spacing": "log"})
        [0.01, 0.1, 1.0]
        >>> values("depth", {"from": 1, "to": 10, "count": 4, "spacing": "log", "integer": True})
        [1, 2, 5, 10]
    """
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError(f"{name} = []: an axis without values makes a sweep without cells; give it at least one")
        return list(given)
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{name} = {given!r} is one value, not an axis: move it to [cell], or write {name} = [{given!r}]"
        )
    low, high, log, integer = _range(name, given, ("from", "to", "count", "spacing", "integer"))
    count = given.get("count")
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{name}: count = {count!r}; a range needs to know how many values, as in count = 10")
    spaced = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return list(dict.fromkeys(_tidied(float(v), integer) for v in spaced))


def draw(name: str, given: Any, seed: int, number: int) -> Any:
    """One random value of an axis: draw ``number`` of those from ``seed``, whatever other axes and draws there are.

    Args:
        name: the setting; axes are drawn independently.
        given: a list to choose from, or a table ``{from, to}`` with ``spacing`` and ``integer``.
        seed, number: which draw.

    Raises:
        ValueError: an empty list, or a range that makes no sense.

    Example:
        >>> drawn = [draw("eta", {"from": 0.01, "to": 1.0, "spacing": "log"}, 0, i) for i in range(500)]
        >>> round(sum(v < 0.1 for v in drawn) / 500, 1), draw("eta", [5], 0, 0)
        (0.5, 5)
    """
    key = np.random.SeedSequence(seed, spawn_key=(number, zlib.crc32(name.encode())))
    generator = np.random.default_rng(key)
    if isinstance(given, list | tuple):
        options: Sequence[Any] = values(name, given)
        return options[int(generator.integers(len(options)))]
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} = {given!r} is one value, nothing to draw from: move it to [cell]")
    low, high, log, integer = _range(name, given, ("from", "to", "spacing", "integer"))
    if integer:
        return int(_between(generator.random(), low, high + 1 - 1e-9, log))
    return _tidied(_between(generator.random(), low, high, log), integer=False)


def _between(share: float, low: float, high: float, log: bool) -> float:
    return float(low * (high / low) ** share) if log else float(low + (high - low) * share)


def _range(name: str, given: Mapping[str, Any], known: Sequence[str]) -> tuple[float, float, bool, bool]:
    check_keys(given, known, f"the range of {name}")
    spacing, ends = given.get("spacing", "linear"), [given.get("from"), given.get("to")]
    low, high = (float(end) if isinstance(end, int | float) else math.nan for end in ends)
    if not math.isfinite(low + high):
        raise ValueError(f"{name}: from = {ends[0]!r}, to = {ends[1]!r}; both ends of a range are numbers")
    if spacing not in SPACINGS:
        raise ValueError(f"{name}: spacing = {spacing!r}; there are: {', '.join(SPACINGS)}")
    if spacing == "log" and min(low, high) <= 0:
        raise ValueError(f"{name}: a logarithmic range from {low} to {high}; both ends must be positive")
    return low, high, spacing == "log", bool(given.get("integer", False))


def _tidied(value: float, integer: bool) -> float | int:
    return round(value) if integer else float(f"{value:.{DIGITS}g}")


Settings = dict[str, Any]

KEYS = ("name", "function", "version", "seeds", "cell", "grid", "random", "run")
RUN_KEYS = ("retries", "members")
MOST_RETRIES = 100


@dataclass(frozen=True)
class Spec:
    """A sweep's specification, read and checked for its form.

    Attributes:
        name: of the sweep, for titles.
        function: FILE.py:FUNCTION that each cell calls; None for the lab's networks.
        version: of what the function computes: raise it to have cells computed anew after a change.
        seeds: one cell for each; empty: none is set.
        cell: settings that all cells share.
        grids: of each, every combination of its axes' values is taken.
        axes_drawn, draws, draw_seed: random axes, how many draws of them, and from which seed.
        retries: how often a cell that failed is tried again.
        members: most networks in one ensemble; None leaves it to their size.

    Example:
        >>> spec = Spec.of({"seeds": 2, "grid": {"depth": [1, 2]}, "cell": {"eta": 0.1}})
        >>> list(spec.cells())[1]
        {'eta': 0.1, 'depth': 1, 'seed': 1}
    """

    name: str = "sweep"
    function: str | None = None
    version: int = 1
    seeds: tuple[int, ...] = ()
    cell: Mapping[str, Any] = field(default_factory=dict)
    grids: tuple[Mapping[str, list[Any]], ...] = ({},)
    axes_drawn: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 0
    draw_seed: int = 0
    retries: int = 1
    members: int | None = None

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Read a specification from a TOML file; a function's file is looked for beside it.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not TOML, or not a specification; the message names the file and what is wrong.
        """
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}: give the sweep's specification, a TOML file")
        try:
            given = tomllib.loads(path.read_text("utf-8"))
            return cls.of({"name": path.stem, **given}, path.parent)
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path} is not TOML: {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def of(cls, given: Mapping[str, Any], folder: Path = Path()) -> "Spec":
        """Return a specification from a mapping of the same form as the file.

        Raises:
            ValueError: an unknown key (with the nearest right one), or a value that makes no sense.
        """
        check_keys(given, KEYS, "a sweep's specification")
        run, random = _table(given, "run"), dict(_table(given, "random"))
        check_keys(run, RUN_KEYS, "[run]")
        draws, draw_seed = random.pop("draws", 0), random.pop("draw_seed", 0)
        spec = cls(
            name=str(given.get("name", cls.name)),
            function=_function(given.get("function"), folder),
            version=_count(given.get("version", 1), "version", 0),
            seeds=_seeds(given.get("seeds", ())),
            cell=_table(given, "cell"),
            grids=_grids(given.get("grid", {})),
            axes_drawn=random,
            draws=_count(draws, "[random] draws", 0),
            draw_seed=_count(draw_seed, "[random] draw_seed", 0),
            retries=_count(run.get("retries", 1), "[run] retries", 0, MOST_RETRIES),
            members=None if "members" not in run else _count(run["members"], "[run] members", 1),
        )
        _check_whole(spec)
        return spec

    def cells(self) -> Iterator[Settings]:
        """Return the settings of every cell: grids in their order, then draws, then seeds, the last running fastest."""
        drawn = [
            {name: axes.draw(name, axis, self.draw_seed, i) for name, axis in self.axes_drawn.items()}
            for i in range(self.draws)
        ] or [{}]
        seeds: list[Settings] = [{"seed": seed} for seed in self.seeds] or [{}]
        for grid in self.grids:
            for combination in itertools.product(*grid.values()):
                placed = dict(zip(grid, combination, strict=True))
                for random, seed in itertools.product(drawn, seeds):
                    yield {**self.cell, **placed, **random, **seed}

    @property
    def names(self) -> list[str]:
        """All settings that the specification names."""
        grids = (name for grid in self.grids for name in grid)
        return list(dict.fromkeys([*self.cell, *grids, *self.axes_drawn, *(["seed"] if self.seeds else [])]))


def _check_whole(spec: Spec) -> None:
    for grid in spec.grids:
        _check_apart({"[cell]": spec.cell, "[grid]": grid, "[random]": spec.axes_drawn})
        if spec.seeds and ("seed" in grid or "seed" in spec.axes_drawn or "seed" in spec.cell):
            raise ValueError("both seeds and a setting seed: give the seeds once, as seeds = 5 or seeds = [3, 4]")
    if bool(spec.axes_drawn) != bool(spec.draws):
        raise ValueError(
            f"[random] has {len(spec.axes_drawn)} axes and draws = {spec.draws}: give both, as in draws = 20"
        )


def _check_apart(tables: Mapping[str, Mapping[str, Any]]) -> None:
    for (one, first), (other, second) in itertools.combinations(tables.items(), 2):
        for name in first:
            if name in second:
                raise ValueError(f"{name} is in {one} and in {other}: it can be in one of them only")


def _table(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = given.get(key, {})
    if not isinstance(table, Mapping):
        raise ValueError(f"{key} = {table!r} is no table: write it as [{key}] with its settings below")
    return table


def _grids(given: Any) -> tuple[Mapping[str, list[Any]], ...]:
    tables = given if isinstance(given, list) else [given]
    if not tables or not all(isinstance(table, Mapping) for table in tables):
        raise ValueError("grid is no table: write it as [grid], or [[grid]] for each of several")
    return tuple({name: axes.values(name, axis) for name, axis in table.items()} for table in tables)


def _seeds(given: Any) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return tuple(range(given))
    if isinstance(given, list | tuple) and all(isinstance(seed, int) and seed >= 0 for seed in given):
        return tuple(dict.fromkeys(given))
    raise ValueError(f"seeds = {given!r}: give how many (seeds = 5, for 0 to 4) or a list of numbers from 0")


def _count(given: Any, what: str, least: int, most: int | None = None) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < least or (most and given > most):
        raise ValueError(f"{what} = {given!r}: give a whole number from {least}{f' to {most}' if most else ''}")
    return given


def _function(given: Any, folder: Path) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or ":" not in given:
        raise ValueError(f"function = {given!r}: write it as FILE.py:FUNCTION, as in train.py:train")
    file, _, name = given.rpartition(":")
    return f"{(folder / file).resolve()}:{name}"
