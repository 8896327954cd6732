"""The file: its tables, how it is created, opened for writing and opened for reading."""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.request import pathname2url

from undertow.files import fresh_part
from undertow.store.errors import StoreError
from undertow.store.ledger import read_meta, write_meta
from undertow.store.packing import Damaged

Journal = Literal["auto", "wal", "rollback"]

FORMAT = 2
"""Raised when more is written than older readers know of: 2 since loops, tables and likeness are noted, and since
records carry sums of their place, too, and are counted (see `ledger`)."""
APPLICATION = 0x756E6474
ROW_BITS = 40
"""A fresh row is found by subject * 2**ROW_BITS + number."""

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE sessions (id INTEGER PRIMARY KEY, token TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL)",
    "CREATE TABLE subjects (id INTEGER PRIMARY KEY, series TEXT NOT NULL, digest TEXT NOT NULL, about TEXT NOT NULL)",
    "CREATE TABLE layouts (id INTEGER PRIMARY KEY, subject INTEGER NOT NULL, columns TEXT NOT NULL)",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, layout INTEGER NOT NULL, content BLOB NOT NULL)",
    "CREATE TABLE blocks (id INTEGER PRIMARY KEY, layout INTEGER NOT NULL, place INTEGER NOT NULL,"
    " first INTEGER NOT NULL, rows INTEGER NOT NULL, content BLOB NOT NULL)",
    "CREATE INDEX block_places ON blocks (layout, place, first, rows)",
    "CREATE TABLE events (id INTEGER PRIMARY KEY, step INTEGER NOT NULL, time REAL, kind TEXT NOT NULL,"
    " message TEXT NOT NULL, data TEXT NOT NULL)",
)
BESIDE = ("", "-wal", "-shm", "-journal")
"""What a Run's file and those that SQLite keeps beside it end in."""

_MOST_BYTES = 256 << 20
_MOST_COPIED = 1 << 30
_COPY = "undertow-copy"
_PATIENCE = 5.0
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "gluster",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.",
    "orangefs",
    "ncp",
)


def create(
    path: Path,
    meta: dict[str, str],
    fill: Callable[[sqlite3.Connection], object] = lambda _: None,
    replacing: bool = False,
) -> Path:
    """Make a new file, whole from the first moment it has a name, and return that name.

    Where there is something already it becomes ``name-2``, ``name-3``, ..., or takes its place if it is ``replacing``.

    Raises:
        OSError, sqlite3.Error: the folder takes no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = fresh_part(path)
    try:
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as file:
            for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):  # it has no name to be found under yet
                file.execute(f"PRAGMA {pragma}")
            _lay_out(file, meta, fill)
        with part.open("rb+") as whole:
            # On the disk before it gets its name: a crash leaves either no file or a whole one.
            os.fsync(whole.fileno())
        if replacing:
            part.replace(path)
            return path
        return next(free for free in _names(path) if _ours(free, meta) and _move(part, free))
    finally:
        for end in BESIDE:
            Path(f"{part}{end}").unlink(missing_ok=True)


def _lay_out(file: sqlite3.Connection, meta: dict[str, str], fill: Callable[[sqlite3.Connection], object]) -> None:
    file.execute(f"PRAGMA application_id = {APPLICATION}")
    file.execute(f"PRAGMA user_version = {FORMAT}")
    file.execute("BEGIN")
    for table in _TABLES:
        file.execute(table)
    write_meta(file, meta)
    fill(file)
    file.execute("COMMIT")


def _names(path: Path) -> Iterator[Path]:
    yield path
    base, dot, rank = path.stem.partition(".rank")
    for number in range(2, 10_000):
        yield path.with_name(f"{base}-{number}{dot}{rank}{path.suffix}")


def take_free_name(path: Path) -> Path:
    """Give a file the first of ``name-2``, ``name-3``, ... that is free, beside its own if that can be; return it."""
    return next(free for free in _names(path) if free != path and _move(path, free))


def _ours(path: Path, meta: dict[str, str]) -> bool:
    """Tell whether rank 0's file is missing or of the same training run: ranks agree on a name without talking."""
    base = path.with_name(f"{path.stem.rpartition('.rank')[0]}{path.suffix}")
    if meta["rank"] == "0" or not base.exists():
        return True
    try:
        file, stack = for_reading(base)
        with stack:
            there = read_meta(file)
        runs = [json.loads(each["header"]).get("run") for each in (there, meta)]
    except (StoreError, Damaged, sqlite3.Error, ValueError, KeyError, AttributeError):
        return False
    return there.get("world") == meta["world"] and runs[0] == runs[1]


def _move(part: Path, path: Path) -> bool:
    if any(os.path.lexists(f"{path}{end}") for end in BESIDE):  # a lost journal would be replayed into a new file
        return False
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        part.rename(path)
    return True


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{pathname2url(os.path.abspath(path))}?{options}"
    file = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
    file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    file.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        file.execute(f"PRAGMA {pragma}")
    return file


def check(file: sqlite3.Connection, path: Path) -> None:
    """Take the file for a Run only if its tables are the ones written here, to the letter.

    Raises:
        StoreError: it is something else, or newer.
        sqlite3.Error: it can't be read.
    """
    (application,) = file.execute("PRAGMA application_id").fetchone()
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise StoreError(f"{path} is not an undertow Run: it is a database of another program")
    if version > FORMAT:
        raise StoreError(
            f"{path} was written by a newer undertow (format {version}; this one reads up to {FORMAT}): "
            "upgrade undertow to read it"
        )
    try:
        tables = {sql for (sql,) in file.execute("SELECT sql FROM sqlite_master") if sql}
    except UnicodeDecodeError:
        tables = set()
    if tables != set(_TABLES):
        raise StoreError(f"{path} is damaged, or was changed by another program: its tables are not a Run's")


def for_writing(path: Path, journal: Journal) -> sqlite3.Connection:
    """Open a file to write to.

    Raises:
        StoreError: it is no Run.
        sqlite3.Error: it can't be opened.
    """
    file = _connect(path, "mode=rw")
    try:
        check(file, path)
        wal = journal == "wal" or (journal == "auto" and not far(path))
        if not (wal and _takes(file, "wal")):
            file = _rolled_back(file, path)
        # With a write-ahead log NORMAL loses the last commits in a power failure, and never the file.
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        return file
    except BaseException:
        file.close()
        raise


def _takes(file: sqlite3.Connection, mode: str) -> bool:
    try:
        (answer,) = file.execute(f"PRAGMA journal_mode = {mode}").fetchone()
        file.execute("BEGIN IMMEDIATE")  # shared memory is made no sooner
        file.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    return answer == mode


def _rolled_back(file: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    if _takes(file, "delete"):
        return file
    file.close()
    with contextlib.closing(_connect(path, "mode=rw")) as alone:  # who is alone needs no shared memory
        alone.execute("PRAGMA locking_mode = EXCLUSIVE")
        _takes(alone, "delete")
    return _connect(path, "mode=rw")


def far(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Tell whether a file lies on a network file system, where memory that is shared is not seen by other hosts."""
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    place, over = os.path.realpath(path), []
    for number, (_, named, kind, *_) in enumerate(line.split(" ") for line in lines if line.count(" ") > 2):
        at = named.replace("\\040", " ")
        if os.path.commonpath([place, at]) == at:
            over.append((len(at), number, kind))
    return max(over, default=(0, 0, ""))[-1].startswith(_NETWORK)


def settle(file: sqlite3.Connection) -> None:
    """Leave one plain file behind: no journal beside it, readable where nothing can be written."""
    with contextlib.suppress(sqlite3.Error):
        _takes(file, "delete")
    file.close()


def session(file: sqlite3.Connection) -> int:
    """Become the one who writes: whoever did before finds out on its next commit."""
    file.execute(
        f"PRAGMA user_version = {FORMAT}"
    )  # older readers do not know what comes into an old file from here on
    values = (uuid.uuid4().hex, os.getpid(), socket.gethostname())
    return int(file.execute("INSERT INTO sessions (token, pid, host) VALUES (?, ?, ?)", values).lastrowid or 0)


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file has that name at the moment; None if there is none, or nobody may look."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def for_reading(path: Path) -> tuple[sqlite3.Connection, contextlib.ExitStack]:
    """Open a file to read; what was needed for it is undone by closing the second.

    A writer that was killed leaves a journal that only somebody who may write can roll back: where even that isn't
    allowed, a copy is read.

    Raises:
        StoreError: it is missing, or no Run.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder, and not a Run: give a file in it, or `undertow serve` all of it")
    if not path.is_file():
        raise StoreError(f"there is no Run at {path}: the file does not exist")
    if not path.stat().st_size:
        raise StoreError(f"{path} is not an undertow Run: the file is empty")
    stack = contextlib.ExitStack()
    try:
        return _first_readable(path, stack), stack
    except sqlite3.Error as error:
        stack.close()
        raise explained(error, path) from error
    except BaseException:
        stack.close()
        raise


def _first_readable(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    if _is_left(path):
        return _copied(path, stack)
    for options in ("mode=ro", "mode=rw"):
        with contextlib.suppress(sqlite3.OperationalError):
            return _opened(path, options, stack)
    # Nothing waits in a journal: the file alone is whole, and may be read where nothing can be locked.
    if not Path(f"{path}-wal").exists() and not Path(f"{path}-journal").exists():
        return _opened(path, "mode=ro&immutable=1", stack)
    return _copied(path, stack)


def _is_left(path: Path) -> bool:
    """Tell whether a log lies beside the file that nobody has open: reading it in place would leave more beside it."""
    log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    return log.exists() and log.stat().st_size > 0 and not shared.exists() and path.stat().st_size < _MOST_COPIED


def is_copy(file: sqlite3.Connection) -> bool:
    """Tell whether what is read is a copy, which does not grow with the file."""
    ((_, _, place),) = file.execute("PRAGMA database_list").fetchall()
    return Path(place).name == _COPY


def _copied(path: Path, stack: contextlib.ExitStack) -> sqlite3.Connection:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="undertow-")))
    # A journal must be rolled in or back, which writes: on a copy, where the folder is read-only.
    for end in ("", "-wal", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{path}{end}", folder / f"{_COPY}{end}")
    return _opened(folder / _COPY, "mode=rw", stack)


def _opened(path: Path, options: str, stack: contextlib.ExitStack) -> sqlite3.Connection:
    file = _connect(path, options)
    try:
        check(file, path)
        file.execute("PRAGMA query_only = ON")
    except BaseException:
        file.close()
        raise
    stack.callback(file.close)
    return file


def explained(error: Exception, path: Path) -> StoreError:
    """Explain for people what SQLite, or a parser, has against a file."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not an undertow Run: it is no SQLite file, or its first page is damaged")
    if isinstance(error, sqlite3.OperationalError):
        return StoreError(f"{path} can't be read: {error}")
    return StoreError(f"{path} is damaged ({error}): restore it from a copy, or try `sqlite3 {path.name} .recover`")
