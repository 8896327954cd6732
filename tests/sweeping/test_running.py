"""Sweeps on this machine: what is computed, kept, tried again, and gone on with."""

import resource
import signal
import sqlite3
import time
from pathlib import Path

import pytest
import torch

from undertow.lab import Ensemble, Initializer, digits
from undertow.sweeping import open_sweep, sweep
from undertow.sweeping.store import Store

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


# --- the lab's networks ---


def test_a_cell_is_the_network_that_an_ensemble_trains(store):
    settings = {**LAB, "depth": 2, "width": 20, "weight_var": 1.5, "bias_var": 0.3, "eta": 0.05, "lmbda": 1.0,
                "optimizer": "momentum", "mu": 0.5, "clip": 5.0, "batch_size": 20, "dtype": "float64"}  # fmt: skip
    rows = sweep({"seeds": [3, 5], "cell": settings}, store, processes=0).rows()
    data = digits()
    train = data.train.x[:200], data.train.y[:200]
    judged = data.validation.x[:100], data.validation.y[:100]
    for row, number in zip(rows, (3, 5), strict=True):
        start = Initializer("default", scale=1.5**0.5, bias_scale=0.3**0.5)
        given = {"activation": "tanh", "cost": "log-likelihood", "initializer": start, "dtype": torch.float64}
        nets = Ensemble([64, 20, 20, 10], seed=0, first_member=number, **given)
        from undertow.lab import Momentum

        nets.train(train, 2, 20, 0.05, 1.0, optimizer=Momentum(0.5), clip=5.0)
        assert row["loss"] == pytest.approx(nets.loss(*train).item(), rel=1e-12)
        assert row["accuracy"] == nets.accuracy(*judged).item()
        assert row["train_accuracy"] == nets.accuracy(*train).item()
        assert row["seed"] == number


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


def test_a_member_that_diverges_is_told_from_the_others(store):
    cell = {**LAB, "activation": "relu", "depth": 4, "eta": 0.01}
    rows = sweep({"cell": cell, "grid": {"weight_var": [1.0, 1e6]}}, store, processes=0).rows()
    assert [row["diverged"] for row in rows] == [False, True]
    assert rows[0]["loss"] > 0
    assert rows[1]["loss"] is None
    assert "diverged_at" in rows[1]


def test_the_curve_is_kept_where_it_is_asked_for(store):
    [row] = sweep({"cell": {**LAB, "curve": True, "epochs": 3}}, store, processes=0).rows()
    assert len(row["curve"]) == 3
    assert row["curve"][-1] == row["accuracy"]


# --- users' functions ---


def test_a_function_is_called_once_for_each_cell_and_never_again(store, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    spec = over("noted", cell={"folder": str(marks)}, grid={"number": [1, 2]})
    sweep(spec, store, processes=0)
    more = {**spec, "grid": {"number": [2, 3, 1]}}
    results = sweep(more, store, processes=0)
    assert [row["value"] for row in results.rows()] == [1, 2, 3]
    assert {file.name: file.read_text() for file in marks.iterdir()} == {"1": "x", "2": "x", "3": "x"}
    sweep({**more, "version": 2}, store, processes=0)
    assert {file.read_text() for file in marks.iterdir()} == {"xx"}
    assert len(open_sweep(store).rows()) == 3, "results of the version before aren't mixed in"


def test_defaults_are_told_and_seeds_passed_on(store):
    rows = sweep(over("product", seeds=2, grid={"depth": [3]}), store, processes=0).rows()
    assert rows == [{"depth": 3, "eta": 0.5, "seed": s, "product": 1.5, "seen": s} for s in (0, 1)]


def test_a_function_itself_can_be_given(store):
    from undertow.theory.meanfield import chi

    given = {
        "function": chi,
        "cell": {"activation": "tanh"},
        "grid": {"weight_var": [1.0, 4.0], "bias_var": [0.0, 0.5]},
    }
    rows = sweep(given, store, processes=0).rows()
    assert [row["value"] for row in rows] == [chi("tanh", w, b) for w in (1.0, 4.0) for b in (0.0, 0.5)]
    with pytest.raises(ValueError, match="not at the top level of a file"):
        sweep({"function": lambda depth: depth, "grid": {"depth": [1]}}, store)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"dpeth": [1]}, "has no argument 'dpeth': did you mean 'depth'"),
        ({"eta": [1.0]}, "needs the argument 'depth', which the cell doesn't set"),
    ],
)
def test_arguments_that_a_function_doesnt_have_are_told_before_it_is_called(store, grid, told):
    with pytest.raises(ValueError, match=told):
        sweep(over("product", grid=grid), store)
    assert not store.exists()


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


def test_a_function_that_leaves_or_returns_what_cant_be_kept_has_failed(store):
    failed = sweep(over("leaving", grid={"number": [3]}), store, processes=0).failed()
    assert failed[0]["error"] == "SystemExit: 3"
    failed = sweep(over("strange", grid={"number": [3]}), store, processes=0).failed()
    assert "the result 'thing' is a object: return numbers" in failed[0]["error"]


# --- processes ---


def test_a_process_that_is_killed_loses_nothing(store, tmp_path):
    spec = over("killed_once", cell={"folder": str(tmp_path)}, grid={"number": list(range(12))})
    assert [row["value"] for row in sweep(spec, store, processes=2).rows()] == list(range(12))
    assert len([file for file in tmp_path.iterdir() if file.name.isdigit()]) == 3


def test_a_cell_that_kills_whoever_computes_it_is_given_up_alone(store):
    spec = over("killed", cell={"bad": [3]}, grid={"number": list(range(6))})
    results = sweep(spec, store, processes=1)
    assert [row["value"] for row in results.rows()] == [0, 1, 2, 4, 5]
    assert "killed by signal 9" in results.failed()[0]["error"]


def test_every_process_has_one_thread(store):
    rows = sweep(over("threads", grid={"number": [1, 2]}), store, processes=2).rows()
    assert [(row["threads"], row["variable"]) for row in rows] == [(1, "1")] * 2


# --- the store ---


def test_a_second_sweep_on_the_same_store_is_refused(store):
    spec = over("product", grid={"depth": [1]})
    with Store(store), pytest.raises(RuntimeError, match=r"another sweep is working on .* \(process \d+ on "):
        sweep(spec, store, processes=0)
    assert sweep(spec, store, processes=0).counts()["done"] == 1


def test_what_is_no_store_is_left_alone(tmp_path):
    text = tmp_path / "notes.sweep"
    text.write_text("mine " * 1000)
    with pytest.raises(ValueError, match="is no store of a sweep"):
        sweep(over("product", grid={"depth": [1]}), text, processes=0)
    assert text.read_text() == "mine " * 1000
    other = tmp_path / "other.sweep"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE plants (name TEXT)")
    with pytest.raises(ValueError, match="is no store of a sweep"):
        sweep(over("product", grid={"depth": [1]}), other, processes=0)


def test_a_newer_store_is_refused(store):
    sweep(over("product", grid={"depth": [1]}), store, processes=0)
    with sqlite3.connect(store) as file:
        file.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
    with pytest.raises(ValueError, match="newer undertow"):
        open_sweep(store)


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


def test_a_full_disk_says_what_to_do_and_keeps_what_there_is(ended, function_spec, tmp_path):
    (tmp_path / "s.toml").write_text(function_spec("long_text", f"number = {list(range(100, 160))}"))
    limit = 2_000_000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    code, _, err = ended("s.toml", "--processes", "0", preexec_fn=limited)
    assert code == 2
    assert "can't write into" in err
    assert "the same command again" in err
    assert "Traceback" not in err
    store = tmp_path / "s.sweep"
    assert 0 < open_sweep(store).counts()["done"] < 60
    assert sqlite3.connect(store).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    code, out, _ = ended("s.toml", "--processes", "0")
    assert code == 0
    assert "60 done, 0 failed, 0 waiting" in out


# --- the command ---


def test_the_command_tells_failures_and_exits_with_1(ended, function_spec, tmp_path):
    (tmp_path / "s.toml").write_text(function_spec("failing", "number = [1, 2, 3]", bad=[2]))
    code, out, _ = ended("s.toml", "--processes", "0", "--out", "cells.csv")
    assert code == 1
    assert "2 done, 1 failed, 0 waiting" in out
    assert "number = 2: ArithmeticError: no result for 2 <b>*here*</b>" in out
    assert (tmp_path / "cells.csv").read_text().splitlines()[0].startswith("bad,number,value,status,error")
    code, out, _ = ended("s.sweep")
    assert code == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[gird]", "has no key 'gird': did you mean 'grid'?"),
        ("depth = ", "s.toml is not TOML"),
        ("[grid]\ndepht = [1]", "there is no setting 'depht': did you mean 'depth'?"),
        ('function = "none.py:f"', "there is no file"),
    ],
)
def test_the_command_refuses_a_bad_specification_in_a_line(ended, tmp_path, text, told):
    (tmp_path / "s.toml").write_text(text)
    code, _, err = ended("s.toml")
    assert code == 2
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "s.sweep").exists()


def test_an_ending_that_cant_be_written_is_told_before_the_work(ended, function_spec, tmp_path):
    (tmp_path / "s.toml").write_text(function_spec("product", "depth = [1]"))
    code, _, err = ended("s.toml", "--out", "map.xls")
    assert code == 2
    assert "its ending must be one of .html" in err
    assert not (tmp_path / "s.sweep").exists()
