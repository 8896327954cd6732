"""Commands by name: all of them are there, and none waits for what it does not need."""

import subprocess
import sys
from pathlib import Path

import pytest

from saying import said
from undertow import commands
from undertow.commands._named import CommandsByName

SCRIPT = """
import sys
from undertow.cli import main
sys.argv = ["undertow", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print(*(name for name in ("torch", "scipy", "altair", "pandas") if name in sys.modules), file=sys.stderr)
"""


def test_every_module_that_is_not_shared_is_a_command():
    files = {file.stem for file in Path(commands.__file__).parent.glob("[!_]*.py")}
    known = CommandsByName()
    assert set(known) == files
    assert len(known) == len(files)
    assert all(known[name].name == name for name in files)
    assert "_named" not in known


@pytest.mark.parametrize(
    "arguments", [["--help"], ["study", "no-such-study"], ["check", "nowhere.undertow"], ["rule", "UT101"]]
)
def test_what_computes_nothing_loads_nothing_to_compute_with(arguments, tmp_path):
    line = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == ""


def test_a_name_nearly_right_is_told_the_right_one():
    done = said("examin")
    assert done.returncode == 2
    assert "examine" in done.stderr
