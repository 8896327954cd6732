"""The command in this process: what it says and exits with, as a shell would see it, without a process's start."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from undertow.cli import main


@dataclass(frozen=True)
class Said:
    """What came of a command, named as `subprocess.run` names it."""

    returncode: int
    stdout: str
    stderr: str


def said(*arguments: object) -> Said:
    """Run ``undertow`` with these arguments by the function that the installed command calls."""
    out, errors, code = io.StringIO(), io.StringIO(), 0
    shell = mock.patch.object(sys, "argv", ["undertow", *map(str, arguments)])
    with shell, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return Said(code, out.getvalue(), errors.getvalue())


def last_object(printed: str) -> Any:
    """Return the last object of JSON that a script printed; Ray may tell of a dead node behind it."""
    return json.loads([line for line in printed.splitlines() if line.startswith("{")][-1])
