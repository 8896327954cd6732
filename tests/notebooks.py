"""Notebooks kept as plain Python: cells of code between lines of ``# %%``, as jupytext and editors know them."""

import re
from pathlib import Path

CELL = re.compile(r"^# %%(?P<kind> \[markdown\])?\n", re.MULTILINE)


def code_cells(path: Path) -> list[str]:
    """Return the code of a notebook's cells, in their order."""
    parts = CELL.split(path.read_text("utf-8"))[1:]
    return [text for kind, text in zip(parts[::2], parts[1::2], strict=True) if kind is None]
