"""A Run in the formats of others."""

import os
from pathlib import Path

from undertow.files import write_json
from undertow.jsonable import jsonable
from undertow.record import Run
from undertow.store.tables import table
from undertow.tables import write_table

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
