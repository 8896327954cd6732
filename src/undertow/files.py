"""Files that are there whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name and move it into place, so that no reader ever meets half of it.

    Folders on the way are made.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder, "new", "file"), b"all of it")
        ...     Path(folder, "new", "file").read_bytes()
        b'all of it'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(value: Any, path: Path) -> Path:
    """Write a value as one line of JSON, as it is: numbers that aren't finite are an error (see `jsonable`).

    Raises:
        ValueError: a number isn't finite.
        TypeError: JSON can't hold the value.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json({"loss": [0.5, None]}, Path(folder, "found.json")).read_text()
        '{"loss":[0.5,null]}'
    """
    write_whole(path, json.dumps(value, allow_nan=False, separators=(",", ":")).encode())
    return path
