"""A quick run of the chapter, made once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saying import Said
from undertow.studies.chapter5 import storage

Command = Callable[..., Said]
Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="module")
def folder(undertow: Command, once: Once) -> Path:
    """The folder that a quick run of the chapter wrote, by its command and in processes of its own."""

    def make(out: Path) -> None:
        done = undertow("chapter5", "--quick", "--data", "digits", "--out", out)
        assert done.returncode == 0, done.stderr
        assert str(out / "index.html") in done.stdout

    return once("chapter5", make)


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, object]:
    return storage.read(folder)
