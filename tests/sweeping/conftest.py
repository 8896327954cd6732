import subprocess
import sys
from pathlib import Path

import pytest

from saying import said

FUNCTIONS = Path(__file__).with_name("functions.py")


@pytest.fixture
def store(tmp_path):
    return tmp_path / "a.sweep"


@pytest.fixture
def command(tmp_path):
    """``undertow sweep`` in a process of its own, in a folder of its own."""

    def start(*arguments, **given):
        line = [sys.executable, "-m", "undertow", "sweep", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(line, cwd=tmp_path, **pipes, **given)

    return start


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """The exit code of ``undertow sweep`` and what it says, on one line each; in this process, in its own folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = said("sweep", *arguments)
        return done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split())

    return run


@pytest.fixture
def function_spec():
    """A specification, as text, of a sweep over a function of functions.py."""

    def text(name, grid, **cell):
        settings = [f"{key} = {value!r}" for key, value in cell.items()]
        return "\n".join([f'function = "{FUNCTIONS}:{name}"', "[cell]", *settings, "[grid]", grid])

    return text
