"""`undertow study`: what there is, and what it says to what there isn't."""

import signal
import subprocess
import sys
import time

import pytest

from undertow.studies import io
from undertow.studies.registry import STUDIES, named


@pytest.mark.parametrize("name", STUDIES)
def test_every_registered_study_is_one(name):
    study = named(name)
    assert study.name == name
    assert study.summary
    assert len(study.claims) >= 5
    assert study.config(True) != study.config(False)


def test_a_name_that_there_is_not(undertow, tmp_path):
    done = undertow("study", "glorot2001", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("undertow: no study named 'glorot2001' (did you mean glorot2010?); there are: ")
    assert not (tmp_path / "out").exists()


def test_data_that_there_are_not(undertow, tmp_path):
    done = undertow("study", "glorot2010", "--quick", "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no data" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_out_before_the_work(undertow, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = undertow("study", "glorot2010", "--quick", "--data", "digits", "--out", tmp_path / "file" / "out")
    assert done.returncode == 2
    assert "choose another folder with --out" in done.stderr


def test_without_pyarrow_the_json_is_still_there(monkeypatch, tmp_path):
    monkeypatch.setattr(io, "find_spec", lambda _name: None)
    assert io.save({"a": 1}, [{"a": 1}], tmp_path) is False
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("name", "awaited", "said"),
    [("remedies", "", "stopped; nothing was written"), ("trainability", "cells.sweep", "goes on from there")],
)
def test_a_study_that_is_stopped_says_what_has_become_of_it(tmp_path, name, awaited, said):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "undertow", "study", name, "--quick", "--data", "digits", "--out", out]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (out / awaited).exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate()
    assert running.returncode == 130
    assert said in errors
    assert not (out / "index.html").exists()
