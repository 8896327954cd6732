"""A study's results on disk: JSON for everything, Parquet for a table of them; whole files or none."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from undertow.files import write_json
from undertow.jsonable import jsonable
from undertow.tables import of_rows, write_table

DIGITS = 8
"""Significant digits kept: one more than float32 has."""

JSON_NAME, PARQUET_NAME = "results.json", "results.parquet"


def save(results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], out: Path) -> bool:
    """Write results as one line of JSON, and rows as a Parquet file beside it.

    Returns:
        Whether there is a Parquet file: pyarrow is an extra.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save({"error": 1 / 3}, [{"network": "tanh", "error": 1.7}], Path(folder))
        ...     Path(folder, JSON_NAME).read_text()
        True
        '{"error":0.33333333}'
    """
    write_json(jsonable(results, DIGITS), out / JSON_NAME)
    if rows and find_spec("pyarrow") is not None:
        write_table(of_rows(jsonable(rows, DIGITS)), out / PARQUET_NAME)
        return True
    return not rows


def read_json(path: Path) -> Any:
    """Read a file of JSON.

    Raises:
        ValueError: it isn't JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


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
