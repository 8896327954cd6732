"""Give a Run that is there already another name, so that a new one may have its own."""

import contextlib
import json
import os
import socket
import sqlite3
from pathlib import Path

from undertow.store.database import BESIDE, for_reading, for_writing, settle, take_free_name
from undertow.store.errors import StoreError
from undertow.store.ledger import read_meta
from undertow.store.packing import Damaged


def put_aside(path: Path) -> Path | None:
    """Give a finished Run the name ``name-2``, ``name-3``, ... beside its own, which it keeps until that is replaced.

    Args:
        path: where there is something.

    Returns:
        The new name; None where the file must stay as it is: it is no Run, or somebody may have it open. SQLite removes
        a journal by name, so that a Run renamed under its writer would take its successor's journal away.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     notes = Path(folder, "notes.undertow")
        ...     _ = notes.write_text("no run")
        ...     put_aside(notes) is None
        True
    """
    try:
        if _writer_is_gone(path):
            settle(for_writing(path, "auto"))
        elif not _ended(path):
            return None
    except (StoreError, Damaged, sqlite3.Error, OSError, ValueError):
        return None
    return None if _is_open(path) else take_free_name(path)


def _is_open(path: Path) -> bool:
    return any(os.path.lexists(f"{path}{end}") for end in BESIDE if end)


def _writer_is_gone(path: Path) -> bool:
    """Tell whether the process that wrote last was one of this machine, and has ended."""
    file, stack = for_reading(path)
    with stack:
        last = file.execute("SELECT pid, host FROM sessions ORDER BY id DESC LIMIT 1").fetchone()
    if last is None:  # saved as a whole
        return True
    process, host = last
    if host != socket.gethostname() or process == os.getpid() or os.name == "nt":  # where asking would end it
        return False
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
    return False


def _ended(path: Path) -> bool:
    file, stack = for_reading(path)
    with stack:
        header = json.loads(read_meta(file)["header"])
    return "ended" in header and not _is_open(path)
