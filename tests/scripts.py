"""Scripts, run in the tests' own process: what they print, and which codes of findings stand in that."""

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def printed(script: Path, *arguments: str) -> str:
    """Run a script as ``python script arguments`` does, and return what it prints."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", [str(script), *arguments]), contextlib.redirect_stdout(out):
        runpy.run_path(str(script), run_name="__main__")
    return out.getvalue()


def faults(text: str) -> list[str]:
    """Return the codes of errors and warnings in a printed report, in their order."""
    return re.findall(r"\b(UT\d{3}) (?:error|warning)", text)
