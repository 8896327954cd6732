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
timeout = 600                      # seconds that a cell may take; left away: as long as it takes
"""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undertow.sweeping import axes
from undertow.sweeping.naming import check_keys

Settings = dict[str, Any]

KEYS = ("name", "function", "version", "seeds", "cell", "grid", "random", "run")
RUN_KEYS = ("retries", "members", "timeout")
MOST_RETRIES = 100
MOST_CELLS = 1_000_000
"""Cells, values of an axis, draws or seeds: beyond, a specification takes longer to write out than to mend."""


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
        timeout: seconds that a cell may take; None for as long as it takes.

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
    timeout: float | None = None

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
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
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
            draws=_count(draws, "[random] draws", 0, MOST_CELLS),
            draw_seed=_count(draw_seed, "[random] draw_seed", 0),
            retries=_count(run.get("retries", 1), "[run] retries", 0, MOST_RETRIES),
            members=None if "members" not in run else _count(run["members"], "[run] members", 1),
            timeout=_seconds(run.get("timeout")),
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


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < math.inf:
        raise ValueError(f"[run] timeout = {given!r}: give the seconds that a cell may take, as in timeout = 600")
    return float(given)


def _check_whole(spec: Spec) -> None:
    cells = max(len(spec.seeds), 1) * max(spec.draws, 1) * sum(math.prod(map(len, g.values())) for g in spec.grids)
    if cells > MOST_CELLS:
        raise ValueError(f"the specification makes {cells:,} cells: {MOST_CELLS:,} are the most, so leave values out")
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
        return tuple(range(_count(given, "seeds", 1, MOST_CELLS)))
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
