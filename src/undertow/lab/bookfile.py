"""The book's own data file, `mnist.pkl.gz`: read without trusting its pickle, and turned back into IDX files.

The file is a Python 2 pickle of three pairs (images as float32 = uint8/256, labels as int64): 50,000 to train
with, 10,000 to validate, 10,000 to test. The first two are MNIST's 60,000 training images, in their order.
"""

import gzip
import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.lab.idxfile import FILES, DataError, encode, sha256

FILE = "mnist.pkl.gz"
SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
LARGEST = 2**26
"""Bytes of the compressed file that are read at most; it has 17,051,982."""

# Asking an array for it spares naming a private module that NumPy 2 renamed.
_reconstruct = np.empty(0).__reduce__()[0]
ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


# Unpickling calls whatever global the file names: only those of arrays are admitted.
class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise DataError(f"its pickle asks for {module}.{name}, where only NumPy arrays are admitted")
        return ADMITTED[module, name]


def unpickle(packed: bytes) -> Any:
    """Read a gzipped pickle of NumPy arrays; nothing but the arrays' own globals is admitted.

    Raises:
        DataError: the pickle asks for any other global.

    Example:
        >>> unpickle(gzip.compress(pickle.dumps(np.arange(3), protocol=4)))
        array([0, 1, 2])
        >>> unpickle(gzip.compress(pickle.dumps(print, protocol=4)))
        Traceback (most recent call last):
        undertow.lab.idxfile.DataError: its pickle asks for builtins.print, where only NumPy arrays are ...
    """
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        return _ArraysOnly(stream, encoding="latin1").load()


def _as_bytes(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (images * 256).astype(np.uint8).reshape(-1, 28, 28)


def to_idx(packed: bytes) -> dict[str, bytes]:
    """Return the four IDX files that hold what `mnist.pkl.gz` holds, bit for bit those MNIST was published in.

    Raises:
        DataError: not the book's file (its SHA-256 is another). It was then not unpickled.
    """
    if sha256(packed) != SHA256:
        raise DataError(f"it is not the book's {FILE}: its SHA-256 is {sha256(packed)}, not {SHA256}")
    (train_x, train_y), (validation_x, validation_y), (test_x, test_y) = unpickle(packed)
    arrays = (
        np.concatenate([_as_bytes(train_x), _as_bytes(validation_x)]),
        np.concatenate([train_y, validation_y]).astype(np.uint8),
        _as_bytes(test_x),
        test_y.astype(np.uint8),
    )
    return {name: encode(values) for name, values in zip(FILES, arrays, strict=True)}
