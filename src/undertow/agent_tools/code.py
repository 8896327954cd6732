"""Examine a user's model in a process of its own, for a bounded time: their code prints, hangs and exits there."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from undertow.printable import printable
from undertow.report import Report

SECONDS = 300.0
"""How long the user's code may take."""

LAST_LINES = 12
"""Of what it printed, where it failed."""


def examined(root: Path, target: str, seconds: float = SECONDS) -> Report:
    """Run ``undertow examine FILE.py:FUNCTION`` in a folder and return its report.

    The process writes nothing into the folder, unless the user's code does; not even compiled Python.

    Args:
        root: the folder that it runs in.
        target: FILE.py:FUNCTION, within it.
        seconds: after which it is ended, with all that it has started.

    Raises:
        ValueError: it failed or took too long; the message ends with the last lines that it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, said = Path(folder, "report.json"), Path(folder, "said.txt")
        command = [sys.executable, "-P", "-m", "undertow", "examine", f"./{target}", "--out", str(report)]
        with said.open("wb") as output:
            code = _ran(command, root, output.fileno(), seconds)
        if code is None:
            raise ValueError(f"{target} was ended after {seconds:g} seconds")
        if code or not report.is_file():
            raise ValueError(f"{target} can't be examined: {_end_of(said)}")
        return Report.read(report)


def _ran(command: list[str], root: Path, output: int, seconds: float) -> int | None:
    """Return the exit code; None where it was ended for taking too long."""
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    child = subprocess.Popen(  # noqa: S603  # no shell, and the target's shape was checked
        command, cwd=root, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=settings, start_new_session=True
    )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:
            _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a process with all that it has started, where the system knows groups of processes."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _end_of(said: Path) -> str:
    with said.open("rb") as file:
        file.seek(max(0, said.stat().st_size - 8_192))
        lines = file.read().decode("utf-8", "backslashreplace").splitlines()
    return printable("\n".join(line for line in lines[-LAST_LINES:] if line.strip()), lines=True)
