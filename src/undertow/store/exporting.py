"""A Run as tables (one row for each Site, edge or parameter of each step), and in the formats of others."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.columns import Columns
from undertow.files import write_json
from undertow.jsonable import jsonable
from undertow.record import SITE_COLUMNS, Run, Site
from undertow.tables import write_table

Table = dict[str, NDArray[Any]]

DESCRIBED: dict[str, Callable[[Site], Any]] = {
    "site": lambda site: site.index,
    "module": lambda site: site.module,
    "module_type": lambda site: site.module_type,
    "op": lambda site: site.op,
    "role": lambda site: str(site.role),
    "activation": lambda site: site.activation or "",
    "shape": lambda site: list(site.shape),
    "parameters": lambda site: list(site.parameters),
}
"""Words about a Site, alike at every step."""


def table(run: Run, of: str = "sites") -> Table:
    """Make columns of equal length, which ``pandas.DataFrame`` and ``pyarrow.table`` take as they are.

    Args:
        run: the Run.
        of: "sites" or "edges" of the recorded steps, "parameters", "scalars" (every noted step) or "events".

    Raises:
        ValueError: another one.

    Example:
        >>> from undertow.record import Role, Site
        >>> sites = Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT)
        >>> run = Run({}, sites, columns={"grad_output": np.array([[1.0, 0.2], [0.9, 0.1]])})
        >>> columns = table(run)
        >>> columns["row"].tolist(), columns["module"].tolist(), columns["grad_output"].tolist()
        ([0, 0, 1, 1], ['fc2', 'fc1', 'fc2', 'fc1'], [1.0, 0.2, 0.9, 0.1])
    """
    if of not in TABLES:
        raise ValueError(f"no table of {of!r}; there are: {', '.join(TABLES)}")
    return TABLES[of](run)


def site_table(run: Run) -> dict[str, list[Any]]:
    """Return one row for each Site of each recorded step, step by step.

    Example:
        >>> import numpy as np
        >>> from undertow.record import Role
        >>> sites = (Site(0, "fc", "addmm", Role.WEIGHT, (8, 3)),)
        >>> columns = site_table(Run({}, sites, columns={"grad_output": np.array([[0.5], [0.25]])}))
        >>> columns["step"], columns["module"], columns["grad_output"], columns["dead"]
        ([0, 1], ['fc', 'fc'], [0.5, 0.25], [nan, nan])
    """
    steps = range(len(run))
    columns: dict[str, list[Any]] = {"step": [step for step in steps for _ in run.sites]}
    for name, described in DESCRIBED.items():
        columns[name] = [described(site) for _ in steps for site in run.sites]
    for name in SITE_COLUMNS:
        columns[name] = [float(value) for step in steps for value in run.column(name, step)]
    return columns


def _sites(run: Run) -> Table:
    words = {name: [DESCRIBED[name](site) for site in run.sites] for name in ("site", "module", "op", "role")}
    return _long(run.steps, len(run), words, run.columns)


def _edges(run: Run) -> Table:
    words: dict[str, list[Any]] = {
        "source": [edge.source for edge in run.edges],
        "target": [edge.target for edge in run.edges],
        "source_module": [run.sites[edge.source].module for edge in run.edges],
        "target_module": [run.sites[edge.target].module for edge in run.edges],
    }
    return _long(run.steps, len(run), words, run.edge_columns)


def _parameters(run: Run) -> Table:
    rows = len(run.parameter_steps)
    return _long({"step": run.parameter_steps}, rows, {"parameter": list(run.parameters)}, run.parameter_columns)


def _long(steps: Columns, rows: int, words: Mapping[str, list[Any]], columns: Columns) -> Table:
    width = len(next(iter(words.values())))
    taken = {
        name if name not in columns else f"step_{name}": np.repeat(values, width) for name, values in steps.items()
    }
    texts = {name: np.tile(np.array(values), rows) for name, values in words.items()}
    return {
        "row": np.repeat(np.arange(rows), width),
        **taken,
        **texts,
        **{name: columns[name].ravel() for name in columns},
    }


def _events(run: Run) -> Table:
    names = ("step", "time", "kind", "message")
    return {name: np.array([getattr(event, name) for event in run.events]) for name in names}


TABLES: Mapping[str, Callable[[Run], Table]] = {
    "sites": _sites,
    "edges": _edges,
    "parameters": _parameters,
    "scalars": lambda run: dict(run.scalars),
    "events": _events,
}


SUFFIXES = (".json", ".parquet", ".csv")


def export(run: Run, path: str | os.PathLike[str], of: str = "sites") -> Path:
    """Write a Run, or one table of it, as the suffix says; the file appears whole or not at all.

    Args:
        run: the Run.
        path: ``.json`` for everything (`Run.from_dict` is its inverse), ``.parquet`` or ``.csv`` for a table.
        of: which table: "sites", "edges", "parameters", "scalars", "events" (see `table`).

    Raises:
        ValueError: another suffix, or no such table.
        ModuleNotFoundError: Parquet without pyarrow.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run({}, (), scalars={"step": np.array([0.0]), "loss": np.array([2.5])})
        ...     export(run, Path(folder, "loss.csv"), "scalars").read_text().split()
        ['step,loss', '0.0,2.5']
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"can't export a Run as {path.name!r}; the suffixes known are {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".json":
        return write_json(run.to_dict(), path)
    return write_table(table(run, of), path, jsonable(run.header, infinite=True))
