"""What a study's numbers become on disk: JSON for everything, Parquet for a table of them; whole files or none."""

import importlib.util
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from undertow.files import write_whole

DIGITS = 8
"""Significant digits kept: one more than float32 has."""

JSON_NAME, PARQUET_NAME = "results.json", "results.parquet"


def plain(value: Any) -> Any:
    """Arrays as lists, numbers to eight digits, what isn't finite as null.

    Example:
        >>> plain({"a": np.array([1 / 3, np.nan])})
        {'a': [0.33333333, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def write_json(results: Mapping[str, Any], path: Path) -> None:
    """Write results as one line of JSON."""
    write_whole(path, json.dumps(plain(results), allow_nan=False, separators=(",", ":")).encode())


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Write rows that share their keys as a Parquet file, and say whether it could be: pyarrow is an extra.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_parquet([{"network": "tanh", "error": 1.7}], Path(folder, "found.parquet"))
        True
    """
    if importlib.util.find_spec("pyarrow") is None:
        return False
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist([dict(plain(row)) for row in rows]), buffer)
    write_whole(path, buffer.getvalue())
    return True


def check_writable(out: Path) -> None:
    """Find out before hours of work, not after.

    Raises:
        OSError: the folder can't be made or written to; the message says what to do instead.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"can't write into {out} ({error.strerror}): choose another folder with --out") from error
