"""Tables into files that other programs read: CSV, Parquet and Arrow, from columns of equal length."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.extras import needed
from undertow.files import write_whole

Table = Mapping[str, Sequence[Any] | NDArray[Any]]
"""Columns of equal length by name, which ``pandas.DataFrame`` and ``pyarrow.table`` take as they are."""


def of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into a table; where a row has nothing under a name that others have, the table has None.

    Example:
        >>> of_rows([{"a": 1}, {"b": 2}])
        {'a': [1, None], 'b': [None, 2]}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def write_table(table: Table, path: Path, header: Mapping[str, Any] | None = None) -> Path:
    """Write a table in the format that the path's suffix names; the file appears whole or not at all.

    Args:
        table: the columns.
        path: ends in .csv, .parquet or .arrow.
        header: JSON values that Parquet and Arrow files keep as metadata under "undertow".

    Raises:
        ValueError: another suffix.
        ModuleNotFoundError: Parquet or Arrow without pyarrow.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_table({"step": [0, 1], "loss": [2.5, None]}, Path(folder, "loss.csv")).read_text().split()
        ['step,loss', '0,2.5', '1,']
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"can't write a table as {path.name!r}; the suffixes known are {', '.join(FORMATS)}")
    write_whole(path, FORMATS[path.suffix.lower()](table, header))
    return path


def arrow(table: Table, header: Mapping[str, Any] | None = None) -> Any:
    """Return a table as a ``pyarrow.Table``.

    Raises:
        ModuleNotFoundError: pyarrow isn't installed.

    Example:
        >>> arrow({"depth": [1, 2]}).num_rows
        2
    """
    columns = {whole(name): _whole_column(column) for name, column in table.items()}
    made = needed("pyarrow", "tables", "Parquet or Arrow").table(columns)
    return made.replace_schema_metadata({"undertow": json.dumps(header, allow_nan=False)}) if header else made


def _csv(table: Table, header: Mapping[str, Any] | None) -> bytes:
    del header  # CSV has no place for it
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, table))
    columns = (getattr(column, "tolist", lambda column=column: column)() for column in table.values())
    writer.writerows(map(_cell, row) for row in zip(*columns, strict=True))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    """Return a value for CSV: a text that a spreadsheet would take for a formula gets an apostrophe before it.

    Example:
        >>> _cell("=cmd()"), _cell("layers.0"), _cell(-1.5)
        ("'=cmd()", 'layers.0', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _whole_column(column: Sequence[Any] | NDArray[Any]) -> Sequence[Any] | NDArray[Any]:
    """Return a column without half surrogate pairs, which no file in UTF-8 takes: the same where there are none."""
    if isinstance(column, np.ndarray) and column.dtype.kind not in "UO":
        return column
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    told = [whole(value) for value in values]
    return column if told == values else told


def whole(value: Any) -> Any:
    """Return a text, or what a list holds, with half surrogate pairs as escapes: a file's name may have some.

    Example:
        >>> whole(["a\\ud800", 1])
        ['a\\\\ud800', 1]
    """
    if isinstance(value, list | tuple):
        return [whole(each) for each in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _parquet(table: Table, header: Mapping[str, Any] | None) -> bytes:
    made, sink = arrow(table, header), io.BytesIO()
    needed("pyarrow.parquet", "tables", "Parquet").write_table(made, sink, compression="zstd")
    return sink.getvalue()


def _arrow(table: Table, header: Mapping[str, Any] | None) -> bytes:
    made, sink = arrow(table, header), io.BytesIO()
    with needed("pyarrow.ipc", "tables", "Arrow").new_file(sink, made.schema) as writer:
        writer.write_table(made)
    return sink.getvalue()


FORMATS: Mapping[str, Callable[[Table, Mapping[str, Any] | None], bytes]] = {
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
