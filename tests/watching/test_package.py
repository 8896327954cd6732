"""What the package itself promises."""

import subprocess
import sys

import pytest

import undertow.watching


def test_who_only_writes_a_run_loads_no_torch() -> None:
    code = "import sys; from undertow.watching import RunWriter; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", undertow.watching.__all__)
def test_every_name_is_found(name: str) -> None:
    assert getattr(undertow.watching, name).__name__ == name


def test_a_name_that_there_is_not_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(AttributeError, match="no attribute 'wach'; it has: RunWriter, Watcher, watch"):
        undertow.watching.wach  # noqa: B018
