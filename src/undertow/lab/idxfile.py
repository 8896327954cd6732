"""The IDX file format: a magic number, the lengths of the dimensions, then one unsigned byte a value.

Source: "The IDX file format", on the page of the MNIST database by LeCun, Cortes and Burges.
"""

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""The four files of a data set of MNIST's form; whatever takes four files takes them in this order."""

LARGEST = 2**30
"""Bytes in one file after decompression; more is taken for a decompression bomb."""

CHUNK = 2**20
GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08


class DataError(RuntimeError):
    """Data that is missing, damaged or not what it should be. The message says which file and what to do."""


def sha256(raw: bytes) -> str:
    """Return the SHA-256 digest of bytes, in lower-case hexadecimal.

    Example:
        >>> sha256(b"undertow")[:16]
        'facbd27829f29f15'
    """
    return hashlib.sha256(raw).hexdigest()


def read_limited(stream: IO[bytes] | gzip.GzipFile, limit: int) -> bytes:
    """Return all bytes of a stream, which may not hold more than `limit` of them.

    Raises:
        DataError: there are more. Not much more than `limit` was read.

    Example:
        >>> from io import BytesIO
        >>> read_limited(BytesIO(b"abc"), limit=3)
        b'abc'
    """
    data = bytearray()
    while chunk := stream.read(CHUNK):
        data += chunk
        if len(data) > limit:
            raise DataError(f"it holds more than the {limit:,} bytes allowed")
    return bytes(data)


def decompressed(stream: IO[bytes], limit: int = LARGEST) -> bytes:
    """Return the bytes of a seekable stream, decompressed if they start as gzip does, whatever the file is called.

    Raises:
        DataError: damaged or truncated gzip, or more than `limit` bytes after decompression.

    Example:
        >>> from io import BytesIO
        >>> decompressed(BytesIO(gzip.compress(b"abc"))), decompressed(BytesIO(b"abc"))
        (b'abc', b'abc')
    """
    zipped = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    stream.seek(0)
    if not zipped:
        return read_limited(stream, limit)
    try:
        with gzip.GzipFile(fileobj=stream) as unzipped:
            return read_limited(unzipped, limit)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"its gzip compression is damaged or cut short ({error})") from error


def read(path: Path, limit: int = LARGEST) -> bytes:
    """One file's bytes after decompression.

    Raises:
        DataError: it can't be read, is damaged, or holds more than `limit` bytes; the message names the file.
    """
    try:
        with path.open("rb") as stream:
            return decompressed(stream, limit)
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror or error})") from error
    except DataError as error:
        raise DataError(f"{path} is unusable: {error}") from error


def locate(folder: Path, name: str) -> Path | None:
    """Return where a folder holds one of `FILES`: by its name or as `train-images.idx3-ubyte`, gzipped or not."""
    spellings = (name, name.replace("-idx", ".idx"))
    candidates = (folder / f"{spelling}{ending}" for spelling in spellings for ending in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def locate_all(folder: Path) -> list[Path]:
    """Return the paths of the four files in a folder.

    Raises:
        DataError: not a folder, or a file isn't there; the message names all that are missing.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is {'not a folder' if folder.exists() else 'not there'}")
    paths = [locate(folder, name) for name in FILES]
    if missing := [name for name, path in zip(FILES, paths, strict=True) if path is None]:
        raise DataError(f"{folder} holds no {', '.join(missing)} (with or without .gz)")
    return [path for path in paths if path is not None]


def parse(raw: bytes, dimensions: int, name: str = "the file") -> NDArray[np.uint8]:
    """Return the array in the bytes of an IDX file: [n, rows, columns] for images, [n] for labels; read-only.

    Args:
        raw: the file's bytes after decompression.
        dimensions: how many the file must have: 3 for images, 1 for labels.
        name: what error messages call the file.

    Raises:
        DataError: another magic number, or more or fewer bytes than the header announces.

    Example:
        >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), dimensions=1)
        array([7, 2, 1], dtype=uint8)
    """
    start = 4 + 4 * dimensions
    if len(raw) < start:
        raise DataError(f"{name} is truncated: {len(raw)} bytes, where its header alone takes {start}")
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if raw[:4] != magic:
        raise DataError(
            f"{name} is not an IDX file of unsigned bytes in {dimensions} dimension(s): "
            f"it starts with {raw[:4].hex()}, not {magic.hex()}"
        )
    shape = np.frombuffer(raw, ">u4", count=dimensions, offset=4).tolist()
    announced = start + math.prod(shape)
    if len(raw) != announced:
        raise DataError(
            f"{name} is {'truncated' if len(raw) < announced else 'too long'}: {len(raw):,} bytes, "
            f"where its header ({' x '.join(map(str, shape))}) announces {announced:,}"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def encode(values: NDArray[np.uint8]) -> bytes:
    """Return the bytes of the IDX file that holds an array; `parse` undoes it.

    Example:
        >>> encode(np.array([7, 2, 1], dtype=np.uint8)).hex()
        '0000080100000003070201'
    """
    header = bytes([0, 0, UNSIGNED_BYTE, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + values.tobytes()
