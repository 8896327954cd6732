"""A Run on disk: one SQLite file for each process that trains, readable while it grows.

Nothing in here needs torch.
"""

from undertow.store.errors import StoreError
from undertow.store.exporting import export
from undertow.store.opening import open_run
from undertow.store.reader import Position, RunReader
from undertow.store.saving import save_run
from undertow.store.tables import table
from undertow.store.writer import RunWriter

__all__ = ["Position", "RunReader", "RunWriter", "StoreError", "export", "open_run", "save_run", "table"]
