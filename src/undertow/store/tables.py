"""A Run as tables: one row for each Site, edge or parameter of each step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.columns import Columns
from undertow.record import Run

Table = dict[str, NDArray[Any]]


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


def _sites(run: Run) -> Table:
    words: dict[str, list[Any]] = {
        "site": [site.index for site in run.sites],
        "module": [site.module for site in run.sites],
        "op": [site.op for site in run.sites],
        "role": [str(site.role) for site in run.sites],
    }
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
    said = {name: np.tile(np.array(values), rows) for name, values in words.items()}
    return {
        "row": np.repeat(np.arange(rows), width),
        **taken,
        **said,
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
