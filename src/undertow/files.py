"""Files that are there whole or not at all."""

import contextlib
import json
import os
import re
import secrets
import socket
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
    part = fresh_part(path)
    try:
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def fresh_part(path: Path) -> Path:
    """Return a name beside a file to write it under until it is whole: one that nobody can guess.

    A name that can be guessed could be a link that somebody planted, to a file that would then be overwritten. Parts of
    any file of the folder that processes left behind which are gone are removed.

    Example:
        >>> fresh_part(Path("runs/first.undertow")).name != fresh_part(Path("runs/first.undertow")).name
        True
    """
    _sweep_up(path.parent)
    return path.with_name(f".{path.name[:150]}.{_host()}-{os.getpid()}-{secrets.token_hex(8)}.part")


def _host() -> str:
    """Name where this process's number means something: the machine, and on Linux the container."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return re.sub("[^A-Za-z0-9]", "", f"{socket.gethostname()[:20]}{space}")


_PART = re.compile(
    r"\.(?P<of>.+)\.(?P<host>[A-Za-z0-9]*)-(?P<pid>\d+)-[0-9a-f]{16}\.part(-wal|-shm|-journal)?", re.DOTALL
)


def _sweep_up(folder: Path) -> None:
    """Remove parts of files that a process of this machine began and that ended without a word."""
    here = _host()
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            match = _PART.fullmatch(each.name)
            if match and match["host"] == here and not _lives(int(match["pid"])):
                with contextlib.suppress(OSError):
                    each.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, or a number that is none
        return True
    return True


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
