"""Refuse a file that would take far more memory than its bytes can stand for, before any of it is allocated."""

import os
from collections.abc import Sequence
from pathlib import Path

from undertow.store.errors import StoreError
from undertow.store.parameters import Parameters
from undertow.store.series import StoredSeries

FREE_BYTES = 256 << 20
MOST_TIMES = 64
"""Real runs take 2 to 20 times their file: places where nothing is measured are left out, and the rest deflates."""

VARIABLE = "UNDERTOW_MEMORY"


def check_budget(path: Path, series: Sequence[StoredSeries], parameters: Parameters) -> None:
    """Compare the memory that all numbers of a file take with the file's own size.

    Raises:
        StoreError: they take more than 256 MB and more than 64 times the file; UNDERTOW_MEMORY, in bytes, allows it.
    """
    rows = max((shape[0] for shape in parameters.shapes.values()), default=0)
    together = 4 * rows * len(parameters.names) * len(parameters.shapes)
    needed = together + sum(each.nbytes for each in series)
    if needed > allowed(path):
        raise StoreError(
            f"{path} says it holds {needed / 1e9:,.1f} GB of numbers in {_size(path) / 1e6:,.1f} MB, which no undertow "
            f"writes: it is damaged, or made to exhaust memory; if you trust it, set {VARIABLE}={needed} to read it"
        )


def allowed(path: Path) -> int:
    """Return how many bytes of numbers a file may hold."""
    given = os.environ.get(VARIABLE, "")
    return max(FREE_BYTES, MOST_TIMES * _size(path), int(given) if given.isdecimal() else 0)


def _size(path: Path) -> int:
    sizes = 0
    for end in ("", "-wal"):
        try:
            sizes += Path(f"{path}{end}").stat().st_size
        except OSError:
            continue
    return sizes
