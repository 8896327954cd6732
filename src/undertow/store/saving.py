"""A whole Run into a file at once."""

import json
import os
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.columns import Columns
from undertow.jsonable import jsonable
from undertow.record import Run
from undertow.store.appender import Appender, about_graph
from undertow.store.database import FORMAT, create
from undertow.store.errors import StoreError
from undertow.store.ledger import BEGUN, COUNTS, Ledger
from undertow.store.packing import Key
from undertow.store.series import PARAMETERS, SCALARS, TAPED

BY_GRAPH = ("columns", "edge_columns", "steps")
"""What a Run has of every graph for itself."""


def meta(header: Any, rank: int = 0, world: int = 1) -> dict[str, str]:
    """Describe a new file."""
    text = json.dumps(jsonable(header, infinite=True), allow_nan=False)
    known = {"run": uuid.uuid4().hex, "header": text, "revision": "0", "rank": str(rank), "world": str(world)}
    return {**known, BEGUN: str(FORMAT), COUNTS: Ledger().to_text()}


def save_run(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a Run, with what it has ``elsewhere``, as one file that `open_run` reads back equal: whole, or not at all.

    Raises:
        StoreError: there is a file already, or it can't be written.
        ValueError: a column is neither float32 nor float64.

    Example:
        >>> import tempfile
        >>> from undertow.store import open_run
        >>> run = Run({"model": "none"}, (), scalars={"loss": np.array([2.0, 1.0])})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_run(run, Path(folder, "run.undertow"))
        ...     open_run(Path(folder, "run.undertow")) == run
        True
    """
    path = Path(path)
    taken = StoreError(f"{path} exists already, and a Run is never overwritten: remove it, or choose another name")
    if path.exists():
        raise taken
    try:
        written = create(path, meta(run.header), lambda file: _fill(file, run))
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path} can't be written: {error}") from error
    if written != path:
        written.unlink()
        raise taken


def _fill(file: sqlite3.Connection, run: Run) -> None:
    into = Appender(file)
    for each in _ways(run):
        taped = {key: values for group in BY_GRAPH for key, values in _keyed(group, getattr(each, group)).items()}
        into.bulk(TAPED, about_graph(each.sites, each.edges), taped)
    into.bulk(SCALARS, "", _keyed("scalars", run.scalars))
    steps = _keyed("parameter_steps", {"": run.parameter_steps})
    into.bulk(PARAMETERS, json.dumps(run.parameters), {**_keyed("parameter_columns", run.parameter_columns), **steps})
    for event in run.events:
        into.event(event)
    into.counted()


def _ways(run: Run) -> list[Run]:
    """List the run and those elsewhere, in the order that their graphs had in its file."""
    counts = run.header.get("graphs", [])
    place = counts.index(max(counts)) if counts and len(counts) == len(run.other_graphs) + 1 else 0
    return [*run.other_graphs[:place], run, *run.other_graphs[place:]]


def _keyed(group: str, columns: Columns) -> dict[Key, NDArray[np.floating]]:
    return {(group, name): values[:, None] if values.ndim == 1 else values for name, values in columns.items()}
