"""A Run on disk: one SQLite file for each process that trains, readable while it grows.

Everything here is synchronous: a `RunFile` commits a batch and returns. Who must not wait for a disk writes through
`undertow.watching.RunWriter`, which has a thread for that. Nothing here needs torch.
"""

import warnings
from importlib import import_module
from typing import Any

from undertow.store.batch import Batch
from undertow.store.errors import StoreError
from undertow.store.exporting import export, table
from undertow.store.opening import open_run
from undertow.store.reader import Position, RunReader
from undertow.store.run_file import RunFile, WritingEnded
from undertow.store.saving import save_run

__all__ = [
    "Batch",
    "Position",
    "RunFile",
    "RunReader",
    "StoreError",
    "WritingEnded",
    "export",
    "open_run",
    "save_run",
    "table",
]


def __getattr__(name: str) -> Any:
    """Lead to where `RunWriter` has moved."""
    if name == "RunWriter":
        text = "undertow.store.RunWriter has moved: import it from undertow.watching"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return import_module("undertow.watching").RunWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
