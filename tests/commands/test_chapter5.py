"""`undertow chapter5`: what it refuses, and what is left of it when it is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from reading import until
from saying import said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chapter6"], "No such command"),
        (["chapter5", "--members", "0"], "--members"),
        (["chapter5", "--data", "nowhere-at-all"], "nowhere-at-all"),
        (["chapter5", "--seed", "-1"], "--seed"),
    ],
)
def test_a_wrong_argument_gets_one_clear_error(arguments, told, tmp_path):
    done = said(*arguments, *(["--out", tmp_path / "out"] if arguments[0] == "chapter5" else []))
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unwritable_folder_is_said_before_anything_is_computed(tmp_path):
    (tmp_path / "out").write_text("a file where the folder should go")
    done = said("chapter5", "--quick", "--data", "digits", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "out" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_command_leaves_no_process_behind(tmp_path):
    command = [sys.executable, "-m", "undertow", "chapter5", "--data", "digits", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        if not children.exists():
            running.kill()
            pytest.skip("this system doesn't tell a process's children")
        until(lambda: len(children.read_text().split()) >= 3)  # two workers and their resource tracker
        left = [Path("/proc", pid) for pid in children.read_text().split()]
        running.kill()
    until(lambda: not any(alive(process) for process in left))


def alive(process: Path) -> bool:
    try:
        return process.joinpath("status").read_text().split("State:")[1].split()[0] != "Z"
    except OSError:
        return False
