"""The studies, each run once for all tests through its command, on scikit-learn's digits, small enough for seconds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def undertow() -> Command:
    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "undertow", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def folder(undertow: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "chapter5"
    done = undertow("chapter5", "--quick", "--data", "digits", "--out", out)
    assert done.returncode == 0, done.stderr
    assert str(out / "index.html") in done.stdout
    return out


@pytest.fixture(scope="session")
def studied(undertow: Command, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder that a quick run of a study wrote; it runs when it is first asked for."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            out = tmp_path_factory.mktemp("study") / name
            done = undertow("study", name, "--quick", "--data", "digits", "--out", out)
            assert done.returncode == 0, done.stderr
            assert str(out / "index.html") in done.stdout
            folders[name] = out
        return folders[name]

    return folder_of
