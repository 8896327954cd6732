"""Sweeps on this machine: what is computed, kept, tried again, and gone on with."""

import resource
import signal
import sqlite3
import time
from pathlib import Path

from undertow.sweeping import open_sweep, sweep

FUNCTIONS = Path(__file__).with_name("functions.py")
LAB = {"data": "digits", "images": 200, "evaluated": 100, "activation": "tanh", "cost": "log-likelihood", "epochs": 2}
GRID = {"depth": [1, 3], "weight_var": [0.5, 2.0]}


def over(name, **given):
    return {"function": f"{FUNCTIONS}:{name}", **given}


def until(there, seconds=60):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_processes_and_this_process_give_the_same_bits(store, tmp_path):
    spec = {"seeds": 3, "cell": LAB, "grid": GRID, "run": {"members": 4}}
    here = sweep(spec, store, processes=0).rows()
    assert len(here) == 12
    assert sweep(spec, tmp_path / "b.sweep", processes=2).rows() == here


def test_an_interrupted_sweep_ends_with_the_bits_of_one_that_wasnt(store, tmp_path):
    spec = {"seeds": 3, "cell": LAB, "grid": GRID, "run": {"members": 4}}
    whole = sweep(spec, store, processes=0).rows()
    sweep({**spec, "grid": {**GRID, "depth": [1]}}, tmp_path / "b.sweep", processes=0)
    assert sweep(spec, tmp_path / "b.sweep", processes=0).rows() == whole


def test_failures_keep_their_tracebacks_and_stop_nobody(store):
    spec = over("failing", cell={"bad": [2, 4]}, grid={"number": [1, 2, 3, 4]}, run={"retries": 2})
    results = sweep(spec, store, processes=0)
    assert [row["value"] for row in results.rows()] == [1, 3]
    failed = results.failed()
    assert [row["number"] for row in failed] == [2, 4]
    assert failed[0]["error"] == "ArithmeticError: no result for 2 <b>*here*</b>"
    assert failed[0]["attempts"] == 3
    assert 'raise ArithmeticError(f"no result' in failed[0]["traceback"]
    assert "sweeping/workers.py" not in failed[0]["traceback"]


def test_what_failed_is_tried_again(store, tmp_path):
    spec = over("failing_once", cell={"folder": str(tmp_path)}, grid={"number": [1, 2]}, run={"retries": 0})
    assert sweep(spec, store, processes=0).counts() == {"done": 0, "failed": 2, "waiting": 0}
    assert sweep(spec, store, processes=0).counts() == {"done": 2, "failed": 0, "waiting": 0}
    again = {**spec, "grid": {"number": [3]}, "run": {"retries": 1}}
    assert sweep(again, store, processes=0).counts() == {"done": 1, "failed": 0, "waiting": 0}


def test_ctrl_c_finishes_cleanly_and_the_same_command_goes_on(command, ended, function_spec, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    numbers = list(range(30))
    text = function_spec("noted", f"number = {numbers}", folder=str(marks), seconds=0.2)
    (tmp_path / "s.toml").write_text(text)
    process = command("s.toml", "--processes", "2", start_new_session=True)
    store = tmp_path / "s.sweep"
    until(lambda: store.is_file() and open_sweep(store).counts()["done"] >= 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in " ".join(out.split())
    assert "Traceback" not in err
    before = {row["number"] for row in open_sweep(store).rows()}
    assert 2 <= len(before) < 30
    code, out, _ = ended("s.toml", "--processes", "2")
    assert code == 0
    assert "30 done, 0 failed, 0 waiting" in out
    assert all((marks / str(number)).read_text() == "x" for number in before), "none of these was computed again"


def test_a_sweep_that_is_killed_keeps_what_it_had(command, function_spec, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    (tmp_path / "s.toml").write_text(
        function_spec("noted", "number = [1, 2, 3, 4, 5, 6]", folder=str(marks), seconds=0.3)
    )
    process = command("s.toml", "--processes", "1")
    store = tmp_path / "s.sweep"
    until(lambda: store.is_file() and open_sweep(store).counts()["done"] >= 2)
    process.kill()
    process.communicate()
    before = {row["number"] for row in open_sweep(store).rows()}
    assert len(before) >= 2
    results = sweep(tmp_path / "s.toml", processes=0)
    assert results.counts() == {"done": 6, "failed": 0, "waiting": 0}
    calls = {int(file.name): len(file.read_text()) for file in marks.iterdir()}
    assert {number for number in before if calls[number] == 1} == before


def test_a_full_disk_says_what_to_do_and_keeps_what_there_is(command, ended, function_spec, tmp_path):
    (tmp_path / "s.toml").write_text(function_spec("long_text", f"number = {list(range(100, 160))}"))
    limit = 2_000_000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = command("s.toml", "--processes", "0", preexec_fn=limited)
    err = " ".join(process.communicate(timeout=120)[1].split())
    assert process.returncode == 2
    assert "can't write into" in err
    assert "the same command again" in err
    assert "Traceback" not in err
    store = tmp_path / "s.sweep"
    assert 0 < open_sweep(store).counts()["done"] < 60
    assert sqlite3.connect(store).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    code, out, _ = ended("s.toml", "--processes", "0")
    assert code == 0
    assert "60 done, 0 failed, 0 waiting" in out


def test_the_command_tells_failures_and_exits_with_1(ended, function_spec, tmp_path):
    (tmp_path / "s.toml").write_text(function_spec("failing", "number = [1, 2, 3]", bad=[2]))
    code, out, _ = ended("s.toml", "--processes", "0", "--out", "cells.csv")
    assert code == 1
    assert "2 done, 1 failed, 0 waiting" in out
    assert "number = 2: ArithmeticError: no result for 2 <b>*here*</b>" in out
    assert (tmp_path / "cells.csv").read_text().splitlines()[0].startswith("bad,number,value,status,error")
    code, out, _ = ended("s.sweep")
    assert code == 1


def test_an_ending_that_cant_be_written_is_told_before_the_work(ended, function_spec, tmp_path):
    (tmp_path / "s.toml").write_text(function_spec("product", "depth = [1]"))
    code, _, err = ended("s.toml", "--out", "map.xls")
    assert code == 2
    assert "its ending must be one of .html" in err
    assert not (tmp_path / "s.sweep").exists()
