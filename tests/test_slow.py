"""slow.txt names tests that there are."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LINES = [line for line in HERE.joinpath("slow.txt").read_text("utf-8").splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("file", sorted({line.partition("::")[0] for line in LINES}))
def test_every_line_names_a_test(file):
    text = HERE.joinpath(file).read_text("utf-8")
    names = [line.rpartition("::")[2] for line in LINES if line.startswith(f"{file}::")]
    assert [name for name in names if f"def {name}(" not in text] == []
