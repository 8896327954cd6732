"""A tracker that appends a line of JSON to a file for each thing it is told."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from undertow.record import Finding


class JsonLines:
    """Writes lines; `undertow.integrations.tracking` says when each method is called.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a step's numbers."""
        self._write({"step": step, **values})

    def finding(self, step: int, finding: Finding) -> None:
        """Write a finding."""
        self._write({"step": step, "code": finding.code, "message": finding.message})

    def page(self, path: Path) -> None:
        """Keep the Run's page beside the file."""
        self._path.with_suffix(".html").write_bytes(path.read_bytes())

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Write a table."""
        self._write({"table": name, "columns": list(columns), "rows": [list(row) for row in rows]})

    def _write(self, line: Mapping[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
