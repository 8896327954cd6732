"""`undertow study`: what it says to what there isn't, and when it is stopped."""

import signal
import subprocess
import sys
import time

import pytest

from saying import said


def test_a_name_that_there_is_not(tmp_path):
    done = said("study", "glorot2001", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("undertow: no study named 'glorot2001' (did you mean glorot2010?); there are: ")
    assert not (tmp_path / "out").exists()


def test_data_that_there_are_not(tmp_path):
    done = said("study", "glorot2010", "--quick", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no data" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = said("study", "glorot2010", "--quick", "--data", "digits", "--out", tmp_path / "file" / "out")
    assert done.returncode == 2
    assert "choose another folder with --out" in done.stderr


@pytest.mark.parametrize(
    ("name", "awaited", "told"),
    [("remedies", "", "stopped; nothing was written"), ("trainability", "cells.sweep", "goes on from there")],
)
def test_a_study_that_is_stopped_says_what_has_become_of_it(tmp_path, name, awaited, told):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "undertow", "study", name, "--quick", "--data", "digits", "--out", out]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (out / awaited).exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate()
    assert running.returncode == 130
    assert told in errors
    assert not (out / "index.html").exists()
