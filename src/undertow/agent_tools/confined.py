"""Paths inside one folder, and text that may leave it: nothing outside is read, nothing large, nothing that acts."""

import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from undertow.printable import printable, shortened

MOST_BYTES = {".undertow": 512 * 2**20, ".json": 64 * 2**20, ".py": 2**20}
"""Of a file that is read whole, by its suffix: JSON takes many times its size when it is read."""

MOST_SIGNS = 4_000
"""Of a text that is handed out."""

DEPTH = 12
"""Folders within folders that are looked into."""


class Confined:
    """A folder, out of which no name leads.

    Names are paths from it, with ``/``. No link is followed, be it a file or a folder: it could lead anywhere. What
    begins with a dot is not there.

    Raises:
        NotADirectoryError: there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "net.py").write_text("pass")
        ...     Confined(root).file("net.py", ".py").name
        'net.py'
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Confined(root).file("../net.py", ".py")
        Traceback (most recent call last):
        ValueError: '../net.py' leads out of the folder: name a file in it, by its path from there
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise NotADirectoryError(f"there is no folder {root}: name the one that holds runs and reports")

    def file(self, name: str, suffix: str) -> Path:
        """Return the path of a file in the folder.

        Raises:
            ValueError: the name leads elsewhere, or is of another kind of file, or the file is too large.
            FileNotFoundError: there is none of that name.
        """
        parts = _parts(name)
        if not name.lower().endswith(suffix):
            raise ValueError(f"{_shown(name)} is no {suffix} file")
        path = self.root
        for part in parts[:-1]:
            path /= part
            if not _is(path, stat.S_ISDIR):
                raise FileNotFoundError(f"there is no file {_shown(name)} in the folder")
        path /= parts[-1]
        if not _is(path, stat.S_ISREG):
            raise FileNotFoundError(f"there is no file {_shown(name)} in the folder")
        most, size = MOST_BYTES[suffix], path.lstat().st_size
        if size > most:
            raise ValueError(
                f"{_shown(name)} has {size / 2**20:,.1f} MiB: of such a file {most >> 20} are read at most"
            )
        return path

    def names(self, suffix: str) -> list[str]:
        """Return the names of all files of a suffix, links and what begins with a dot left out."""
        found = []
        for place, folders, files in os.walk(self.root):
            deep = len(Path(place).relative_to(self.root).parts) >= DEPTH
            folders[:] = [] if deep else sorted(each for each in folders if not each.startswith("."))
            for file in sorted(files):
                path = Path(place, file)
                if file.endswith(suffix) and not file.startswith(".") and _is(path, stat.S_ISREG):
                    found.append(path.relative_to(self.root).as_posix())
        return found

    def hidden(self, text: str) -> str:
        """Return a text without the way to the folder."""
        return text.replace(f"{self.root}{os.sep}", "").replace(str(self.root), ".")


def clean(value: Any) -> Any:
    """Return JSON values whose texts act on nothing and are no longer than `MOST_SIGNS`; numbers are finite or None.

    Example:
        >>> clean({"name\\x1b": ["a\\nb", float("nan"), 2]})
        {'name\\\\x1b': ['a\\nb', None, 2]}
    """
    if isinstance(value, str):
        return shortened(printable(value, lines=True), MOST_SIGNS)
    if isinstance(value, Mapping):
        return {str(clean(str(key))): clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [clean(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _parts(name: str) -> tuple[str, ...]:
    pure = PurePosixPath(name)
    if not pure.parts and not pure.is_absolute():
        raise ValueError("no file is named: name one in the folder, by its path from there")
    plain = not pure.is_absolute() and "\\" not in name and "\0" not in name
    if not plain or ".." in pure.parts or any("\ud800" <= sign <= "\udfff" for sign in name):
        raise ValueError(f"{_shown(name)} leads out of the folder: name a file in it, by its path from there")
    if any(part.startswith(".") for part in pure.parts):
        raise ValueError(f"{_shown(name)} is hidden: what begins with a dot is not read")
    return pure.parts


def _shown(name: str) -> str:
    return repr(shortened(printable(name), 120))


def _is(path: Path, kind: Any) -> bool:
    try:
        return bool(kind(path.lstat().st_mode))
    except OSError:
        return False
