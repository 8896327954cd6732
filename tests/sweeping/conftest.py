import subprocess
import sys
from pathlib import Path

import pytest

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
def ended(command):
    """Its exit code and what it says, on one line each."""

    def run(*arguments, **given):
        process = command(*arguments, **given)
        out, err = process.communicate(timeout=120)
        return process.returncode, " ".join(out.split()), " ".join(err.split())

    return run


@pytest.fixture
def function_spec():
    """A specification, as text, of a sweep over a function of functions.py."""

    def text(name, grid, **cell):
        settings = [f"{key} = {value!r}" for key, value in cell.items()]
        return "\n".join([f'function = "{FUNCTIONS}:{name}"', "[cell]", *settings, "[grid]", grid])

    return text
