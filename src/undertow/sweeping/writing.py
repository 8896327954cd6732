"""Results written into files, whole or not at all: tables for other programs, a page for readers."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from undertow.files import write_whole
from undertow.sweeping.results import FORMATS, Results, filled


def save(results: Results, path: Path) -> Path:
    """`Results.save`, where the arguments are described."""
    check_format(path)
    if not results.counts()["done"] + results.counts()["failed"]:
        raise ValueError(f"{results.path} has no finished cells yet: there is nothing to write")
    write_whole(path, WRITERS[path.suffix](results))
    return path


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


def _html(results: Results) -> bytes:
    from undertow.sweeping.page import article

    return article(results).html().encode()


def _parquet(results: Results) -> bytes:
    table, sink = results.arrow(None), io.BytesIO()
    from pyarrow import parquet

    parquet.write_table(table, sink)
    return sink.getvalue()


def _arrow(results: Results) -> bytes:
    table, sink = results.arrow(None), io.BytesIO()
    from pyarrow import ipc

    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _csv(results: Results) -> bytes:
    rows = filled(results.rows(None))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _json(results: Results) -> bytes:
    whole = {"name": results.name, "settings": results.settings(), "cells": results.rows(None)}
    return json.dumps(whole, allow_nan=False, separators=(",", ":")).encode()


WRITERS: dict[str, Callable[[Results], bytes]] = dict(zip(FORMATS, (_html, _parquet, _arrow, _csv, _json), strict=True))
