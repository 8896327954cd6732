"""A Run in the formats of others."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

from undertow.columns import plain
from undertow.files import write_whole
from undertow.record import Run
from undertow.store.tables import table


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
    writers: dict[str, Callable[[], bytes]] = {
        ".json": lambda: json.dumps(run.to_dict(), allow_nan=False).encode(),
        ".parquet": lambda: _parquet(run, of),
        ".csv": lambda: _csv(run, of),
    }
    if path.suffix.lower() not in writers:
        raise ValueError(f"can't export a Run as {path.name!r}; the suffixes known are {', '.join(writers)}")
    write_whole(path, writers[path.suffix.lower()]())
    return path


def _csv(run: Run, of: str) -> bytes:
    columns, text = table(run, of), io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
    return text.getvalue().encode()


def _parquet(run: Run, of: str) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("Parquet needs pyarrow: pip install 'undertow[tables]'") from error
    header = json.dumps(plain(run.header), allow_nan=False)
    whole, content = pa.table(table(run, of)).replace_schema_metadata({"undertow": header}), pa.BufferOutputStream()
    pq.write_table(whole, content, compression="zstd")
    return content.getvalue().to_pybytes()
