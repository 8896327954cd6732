"""MNIST as tensors, other data in IDX files, scikit-learn's digits, and the IDX format itself."""

import gzip
import hashlib
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from undertow.lab import sources
from undertow.lab.data import DataSplit, digits, idx, load, mnist
from undertow.lab.idxfile import FILES, DataError, encode, parse

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def values(splits: Sequence[DataSplit], levels: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels and labels of several splits as the bytes they came from."""
    x, y = torch.cat([split.x for split in splits]), torch.cat([split.y for split in splits])
    return x.mul_(levels).round_().to(torch.uint8).numpy(), y.to(torch.uint8).numpy()


def test_mnist_is_the_published_files_over_256() -> None:
    data = mnist()
    for split, count in ((data.train, 50_000), (data.validation, 10_000), (data.test, 10_000)):
        assert (split.x.shape, split.x.dtype) == ((count, 784), torch.float32)
        assert (split.y.shape, split.y.dtype) == ((count,), torch.int64)
        assert split.x.min() == 0
        assert split.x.max() == 255 / 256
    (x, y), (test_x, test_y) = values((data.train, data.validation), 256), values((data.test,), 256)
    files = (encode(x.reshape(-1, 28, 28)), encode(y), encode(test_x.reshape(-1, 28, 28)), encode(test_y))
    assert [hashlib.sha256(file).hexdigest() for file in files] == [sources.SHA256[name] for name in FILES]
    assert data.sha256 == hashlib.sha256("".join(sources.SHA256.values()).encode()).hexdigest()
    assert (data.name, data.image_shape, data.n_inputs, data.n_classes) == ("mnist", (28, 28), 784, 10)


def small_files(rows: int = 3, columns: int = 5, train: int = 13, test: int = 4) -> dict[str, bytes]:
    pixels = np.random.default_rng(1).integers(0, 256, (train + test, rows, columns), dtype=np.uint8)
    labels = np.arange(train + test, dtype=np.uint8)
    parts = (pixels[:train], labels[:train], pixels[train:], labels[train:])
    return {name: encode(part) for name, part in zip(FILES, parts, strict=True)}


@given(st.integers(6, 40), st.integers(1, 9), st.integers(1, 9))
def test_idx_reads_any_size_and_holds_out_the_last_sixth(train: int, rows: int, columns: int) -> None:
    files = small_files(rows, columns, train)
    with tempfile.TemporaryDirectory() as made:
        data = idx(write(Path(made) / "garments", files))
    assert (data.name, data.image_shape, data.n_classes) == ("garments", (rows, columns), train + 4)
    assert [len(s) for s in (data.train, data.validation, data.test)] == [train - train // 6, train // 6, 4]
    joined = torch.cat([data.train.x, data.validation.x]) * 256
    assert np.array_equal(joined.reshape(-1, rows, columns).numpy(), parse(files[TRAIN_IMAGES], 3))
    assert torch.cat([data.train.y, data.validation.y, data.test.y]).tolist() == list(range(train + 4))


def test_idx_takes_gzip_and_the_dotted_names_and_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    files = small_files()
    dotted = {name.replace("-idx", ".idx"): body for name, body in files.items()}
    zipped = {f"{name}.gz": gzip.compress(body) for name, body in files.items()}
    read = [idx(write(tmp_path / str(i), each)) for i, each in enumerate((files, dotted, zipped))]
    other = idx(write(tmp_path / "other", files | {TEST_LABELS: encode(np.zeros(4, np.uint8))}))
    assert len({data.sha256 for data in read}) == 1
    assert all(torch.equal(data.train.x, read[0].train.x) for data in read)
    assert other.sha256 != read[0].sha256


SMALL = small_files()


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        (TRAIN_IMAGES, SMALL[TRAIN_IMAGES][:-1], r"is truncated: .* \(13 x 3 x 5\) announces 211"),
        (TRAIN_IMAGES, SMALL[TRAIN_IMAGES][:9], "is truncated: 9 bytes, where its header alone takes 16"),
        (TRAIN_IMAGES, b"", "is truncated: 0 bytes"),
        (TEST_IMAGES, SMALL[TEST_IMAGES] + b"!", "is too long"),
        (TRAIN_LABELS, SMALL[TRAIN_IMAGES], "it starts with 00000803, not 00000801"),
        (TRAIN_IMAGES, b"\0\0\x0d" + SMALL[TRAIN_IMAGES][3:], "not an IDX file of unsigned bytes"),
        (TEST_LABELS, encode(np.zeros(5, np.uint8)), "holds 4 images, but .* 5 labels"),
        (TEST_IMAGES, encode(np.zeros((4, 5, 3), np.uint8)), "3 x 5 .* 5 x 3 "),
        # mtime=0: the bytes are part of the test's name, on which all processes must agree.
        (TEST_IMAGES, gzip.compress(SMALL[TEST_IMAGES], mtime=0)[:-4], "cut short"),
        (TEST_IMAGES, gzip.compress(SMALL[TEST_IMAGES], mtime=0)[:40] + bytes(40), "damaged"),
    ],
)
def test_idx_refuses_what_is_not_of_the_form_and_names_the_file(
    name: str, body: bytes, reason: str, tmp_path: Path
) -> None:
    write(tmp_path, SMALL | {name: body})
    with pytest.raises(DataError, match=reason) as raised:
        idx(tmp_path)
    assert str(tmp_path / name) in str(raised.value)


def test_idx_refuses_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 5 images: with fewer than 6"):
        idx(write(tmp_path / "few", small_files(train=5)))
    with pytest.raises(DataError, match=f"{TEST_IMAGES} holds 0 images of 3 x 5"):
        idx(write(tmp_path / "none", small_files(test=0)))


def test_digits_are_scikit_learn_s_shuffled_once_and_for_all() -> None:
    from sklearn.datasets import load_digits

    data = digits()
    splits = (data.train, data.validation, data.test)
    bunch = load_digits()
    x, y = values(splits, 17)
    original = zip(bunch.data.astype(np.uint8), bunch.target, strict=True)
    assert Counter((row.tobytes(), label) for row, label in zip(x, y, strict=True)) == Counter(
        (row.tobytes(), label) for row, label in original
    )
    assert [len(split) for split in splits] == [1197, 300, 300]
    assert all(len(split.y.unique()) == 10 for split in splits)
    assert all(split.x.dtype == torch.float32 and split.x.min() == 0 and split.x.max() < 1 for split in splits)
    assert (data.n_inputs, data.image_shape, data.n_classes) == (64, (8, 8), 10)
    assert data.sha256 == hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    assert data.sha256[:16] == "93ac2f61adbf6cb8"  # the shuffle is the same in every release


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "undertow\[digits\]"'):
        load("digits")


def test_load_takes_a_name_or_a_path_and_guesses_nothing(tmp_path: Path) -> None:
    assert load("digits").name == "digits"
    assert load(str(write(tmp_path / "garments", SMALL))).name == "garments"
    for wrong in ("digit", "MNIST", "", str(tmp_path / "nowhere")):
        with pytest.raises(DataError, match="give mnist, digits, or the path of a folder"):
            load(wrong)
