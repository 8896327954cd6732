"""Processes that compute, and what is left when one is killed."""

from pathlib import Path

from undertow.sweeping import sweep

FUNCTIONS = Path(__file__).with_name("functions.py")


def over(name, **given):
    return {"function": f"{FUNCTIONS}:{name}", **given}


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
