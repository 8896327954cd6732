"""The results of a sweep: what stands in its store, and the files that are written from it."""

from pathlib import Path

from undertow.files import write_json
from undertow.sweeping.query import StoredCells
from undertow.tables import of_rows, write_table

FORMATS = (".html", ".parquet", ".arrow", ".csv", ".json")


class Results(StoredCells):
    """The results in a sweep's store; arguments and errors are those of `StoredCells`."""

    def save(self, path: str | Path) -> Path:
        """Write everything into a file: .html (an interactive page), .parquet, .arrow, .csv or .json.

        Raises:
            ValueError: another ending, or nothing is done yet.
            ImportError: pyarrow isn't installed, which .parquet and .arrow need.
        """
        path, counts = Path(path), self.counts()
        check_format(path)
        if not counts["done"] + counts["failed"]:
            raise ValueError(f"{self.path} has no finished cells yet: there is nothing to write")
        if path.suffix == ".json":
            return write_json({"name": self.name, "settings": self.settings(), "cells": self.rows(None)}, path)
        if path.suffix == ".html":
            from undertow.sweeping.page import article  # charts load slowly

            return article(self).write(path)
        return write_table(of_rows(self.rows(None)), path)


def check_format(path: Path) -> None:
    """Refuse a file that couldn't be written, before any work.

    Raises:
        ValueError: the ending isn't known.

    Example:
        >>> check_format(Path("map.xls"))
        Traceback (most recent call last):
        ValueError: can't write map.xls: its ending must be one of .html, .parquet, .arrow, .csv, .json
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"can't write {path}: its ending must be one of {', '.join(FORMATS)}")


def open_sweep(path: str | Path) -> Results:
    """Open the store of a sweep for reading, also while the sweep runs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no store of a sweep, or from a newer undertow.

    Example:
        >>> open_sweep("no.sweep")
        Traceback (most recent call last):
        FileNotFoundError: there is no file no.sweep: give the store that `undertow sweep` wrote
    """
    return Results(path)
