"""The Runs in a folder, and nothing beside them."""

import contextlib
import os
import re
import stat
from pathlib import Path, PurePosixPath

from undertow.store.database import BESIDE
from undertow.store.rank_paths import other_ranks

SUFFIX = ".undertow"
_RANK = re.compile(r"\.rank\d+\.undertow$")
_BESIDE_ENDING = re.compile("-(wal|shm|journal)$")


class Folder:
    """Finds Runs by name, which is their path from the folder.

    Links are not followed, be they folders, Runs, or the files that belong to a Run: a link could lead anywhere.

    Raises:
        NotADirectoryError: there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "first.undertow").touch()
        ...     folder = Folder(Path(root))
        ...     folder.names(), folder.find("first.undertow").name, folder.find("../secret.undertow")
        (['first.undertow'], 'first.undertow', None)
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotADirectoryError(f"there is no folder {root}: name the one that undertow.watch writes to")
        self.root = root.resolve()

    def names(self) -> list[str]:
        """Return the names of all Runs, in order."""
        return sorted(self.written())

    def written(self) -> dict[str, float]:
        """Return when each Run's files were last written to, by name, in seconds since 1970."""
        times: dict[str, float] = {}
        for place, folders, files in os.walk(self.root):
            folders[:] = [each for each in folders if not each.startswith(".")]
            for run, stats in _by_run(place, files).items():
                name = Path(place, run).relative_to(self.root).as_posix()
                if _is_text(name) and all(stat.S_ISREG(each.st_mode) for each in stats):
                    times[name] = max(each.st_mtime for each in stats)
        return times

    def find(self, name: str) -> Path | None:
        """Return the path of a Run; None if there is none of that name in the folder."""
        if not _is_text(name):
            return None
        pure = PurePosixPath(name)
        if pure.is_absolute() or str(pure) != name or not _is_name(pure.name):
            return None
        if any(part.startswith(".") for part in pure.parts):  # the folder above, and what is hidden
            return None
        path = self.root
        for part in pure.parts[:-1]:
            path = path / part
            if not _is_a(path, stat.S_ISDIR):
                return None
        path = path / pure.name
        return path if _is_a(path, stat.S_ISREG) and not _linked_beside(path) else None


def _by_run(place: str, files: list[str]) -> dict[str, list[os.stat_result]]:
    """The files of every Run that has its own among them."""
    found: dict[str, list[os.stat_result]] = {file: [] for file in files if _is_name(file)}
    for file in files:
        run = _RANK.sub(SUFFIX, _BESIDE_ENDING.sub("", file))
        if run in found:
            with contextlib.suppress(OSError):  # it is gone again
                found[run].append(os.lstat(os.path.join(place, file)))
    return {run: stats for run, stats in found.items() if stats}


def _is_name(file: str) -> bool:
    return file.endswith(SUFFIX) and not file.startswith(".") and not _RANK.search(file)


def _is_text(name: str) -> bool:
    """Tell whether a name can be asked for; a backslash separates folders on some systems."""
    return not any("\ud800" <= sign <= "\udfff" or sign in "\0\\" for sign in name)


def _is_a(path: Path, kind: object) -> bool:
    try:
        return bool(kind(path.lstat().st_mode))  # type: ignore[operator]
    except OSError:
        return False


def files_of(path: Path) -> list[Path]:
    """A Run's file, those of other ranks, and what SQLite keeps beside each, if it is there."""
    return [Path(f"{each}{ending}") for each in (path, *other_ranks(path)) for ending in BESIDE]


def _linked_beside(path: Path) -> bool:
    return any(each.is_symlink() for each in files_of(path))
