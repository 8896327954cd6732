"""The studies, each run once for all tests, on scikit-learn's digits, small enough for seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saying import Said, said
from undertow.studies.registry import named

Command = Callable[..., Said]


@pytest.fixture(scope="session")
def undertow() -> Command:
    return said


@pytest.fixture(scope="session")
def folder(undertow: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a quick run of the chapter wrote, by its command and in processes of its own."""
    out = tmp_path_factory.mktemp("study") / "chapter5"
    done = undertow("chapter5", "--quick", "--data", "digits", "--out", out)
    assert done.returncode == 0, done.stderr
    assert str(out / "index.html") in done.stdout
    return out


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder that a quick run of a study wrote; it runs when it is first asked for, in this process."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folders[name] = (
                named(name).run(tmp_path_factory.mktemp("study") / name, quick=True, data="digits", processes=0).parent
            )
        return folders[name]

    return folder_of
