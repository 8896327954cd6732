"""A cell that returns, raises or does what nobody expects costs itself and no other."""

import runpy
import sqlite3
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from undertow.sweeping import open_sweep, sweep
from undertow.sweeping.cells import CellOutcome
from undertow.sweeping.store import Finished, Store

FUNCTIONS = Path(__file__).with_name("functions.py")
POISONS = runpy.run_path(str(FUNCTIONS))["POISONS"]

FAILS = {
    "huge": "ValueError",
    "raised surrogate": r"ValueError: half a pair: \udc80, and \x1b[31m red",
    "raised interrupt": "KeyboardInterrupt",
    "raised odd": "OddError (what it says can not be read: OSError)",
    "recursive": "RecursionError",
    "gone": "ended by itself with code 7",
}


def over(name, **given):
    return {"function": f"{FUNCTIONS}:{name}", **given}


def test_every_poison_costs_its_own_cell_only(store):
    kinds = [*POISONS, "beside", "behind"]
    spec = over("poisonous", grid={"kind": kinds}, run={"retries": 0})
    results = sweep(spec, store, processes=1)
    assert results.counts() == {"done": len(kinds) - len(FAILS), "failed": len(FAILS), "waiting": 0}
    errors = {row["kind"]: row["error"] for row in results.failed()}
    assert {kind: FAILS[kind] in error for kind, error in errors.items()} == dict.fromkeys(FAILS, True)
    assert "memory" not in "".join(errors.values())
    rows = {row["kind"]: row for row in results.rows()}
    assert (rows["surrogate"]["text"], rows["surrogate"][r"\udfff name"]) == (r"\ud800", 1)
    assert rows["own"]["value"] == "mine"
    assert rows["nan"]["value"] is None
    assert results.save(store.with_suffix(".html")).stat().st_size
    assert results.save(store.with_suffix(".csv")).stat().st_size
    again = sweep(spec, store, processes=1)
    assert again.counts() == results.counts()


def test_a_cell_that_hangs_is_ended_alone(store):
    spec = over("hanging", cell={"bad": [2]}, grid={"number": [1, 2, 3, 4]}, run={"timeout": 0.5, "retries": 0})
    began = time.monotonic()
    results = sweep(spec, store, processes=1)
    assert time.monotonic() - began < 60
    assert [row["value"] for row in results.rows()] == [1, 3, 4]
    assert results.failed()[0]["error"] == "it took longer than the 0.5 seconds of [run] timeout"


@pytest.mark.parametrize("timeout", [0, -1, "long", float("inf"), True])
def test_a_timeout_is_a_positive_number(store, timeout):
    with pytest.raises(ValueError, match="give the seconds that a cell may take"):
        sweep(over("product", grid={"depth": [1]}, run={"timeout": timeout}), store, processes=0)


def test_a_timeout_without_processes_is_refused(store):
    with pytest.raises(ValueError, match="can't end a cell"):
        sweep(over("product", grid={"depth": [1]}, run={"timeout": 5}), store, processes=0)


def test_a_setting_that_no_file_holds_is_refused(store):
    with pytest.raises(ValueError, match="a setting is a number, a text"):
        sweep(over("poisonous", grid={"kind": ["\ud800"]}), store, processes=0)


@pytest.mark.parametrize(
    "result", [{"value": "\ud800"}, {"value": float("inf")}, {"value": {1, 2}}, {"value": "x" * 99}]
)
def test_a_store_takes_the_neighbours_of_a_result_that_it_can_not_hold(store, result, monkeypatch):
    monkeypatch.setattr("undertow.sweeping.store.MOST_RESULT", 50)
    with Store(store) as kept:
        kept.plan("lab", [("one", {}), ("two", {})])
        kept.note("work", "lab")
        kept.write(
            [Finished("one", CellOutcome(result), 1, 1, 0.1), Finished("two", CellOutcome({"value": 1}), 1, 1, 0)]
        )
    results = open_sweep(store)
    assert results.rows() == [{"value": 1}]
    assert "its result" in results.failed()[0]["error"]


BOUNDS = {
    "a range": {"grid": {"depth": {"from": 0, "to": 1, "count": 10**8}}},
    "draws": {"random": {"draws": 10**12, "depth": [1, 2]}},
    "seeds": {"seeds": 10**9, "grid": {"depth": [1]}},
    "a product": {"grid": {name: list(range(1000)) for name in ("depth", "eta", "seed")}},
    "an end": {"grid": {"depth": {"from": 1, "to": 10**400, "count": 3}}},
}


@pytest.mark.parametrize("what", BOUNDS)
def test_a_specification_is_bounded_before_any_work(store, what):
    with pytest.raises(ValueError, match=r"1,?000,?000|1000000|both ends of a range are numbers"):
        sweep(over("product", **BOUNDS[what]), store, processes=0)


@pytest.fixture
def intact(store):
    sweep(over("product", grid={"depth": list(range(20))}, cell={"eta": 0.5}), store, processes=0)
    return store


CHANGES = {
    "another result": "UPDATE cells SET result = replace(result, '0.5', '0.7') WHERE number = 1",
    "another setting": "UPDATE cells SET settings = replace(settings, '7', '8') WHERE number = 7",
    "another status": "UPDATE cells SET status = 'waiting' WHERE number = 3",
    "a cell fewer": "DELETE FROM cells WHERE number = 3",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_cell_that_was_changed_is_left_out_and_computed_anew(intact, what):
    before = open_sweep(intact).rows()
    with sqlite3.connect(intact) as file:
        assert file.execute(CHANGES[what]).rowcount == 1
    with pytest.warns(RuntimeWarning, match="1 of its cells is left out"):
        left = open_sweep(intact).rows()
    assert len(left) == 19
    assert all(row in before for row in left)
    again = sweep(over("product", grid={"depth": list(range(20))}, cell={"eta": 0.5}), intact, processes=0).rows()
    assert sorted(again, key=lambda row: row["depth"]) == before


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER UPDATE ON cells BEGIN DELETE FROM cells; END",
        "CREATE VIEW v AS SELECT * FROM cells",
        "DROP TABLE cells; CREATE VIEW cells AS WITH RECURSIVE n(key) AS (SELECT 1 UNION ALL SELECT key + 1 FROM n) "
        "SELECT key, key AS number, 'lab' AS work, '{}' AS settings, 'done' AS status, '{}' AS result, '' AS error, "
        "'' AS traceback, 1 AS attempts, 1 AS together, 1.0 AS seconds, 1.0 AS finished FROM n",
        "ALTER TABLE cells ADD COLUMN more TEXT",
    ],
)
def test_a_store_with_other_tables_is_refused(intact, sql):
    with sqlite3.connect(intact) as file:
        file.executescript(sql)
    with pytest.raises(ValueError, match="changed by another program"):
        open_sweep(intact)
    with pytest.raises(ValueError, match="changed by another program"):
        sweep(over("product", grid={"depth": [1]}), intact, processes=0)


def test_no_flipped_bit_changes_results_in_silence(intact, tmp_path):
    before, content, path = open_sweep(intact).rows(None), intact.read_bytes(), tmp_path / "flipped.sweep"
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 150).tolist():
        spoiled = bytearray(content)
        spoiled[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                rows = open_sweep(path).rows(None)
            except ValueError:
                continue
        assert rows == before or told
        assert all(row in before for row in rows)


def test_an_older_store_is_read_and_gets_sums(intact):
    before = open_sweep(intact).rows()
    with sqlite3.connect(intact) as file:
        file.executescript("DROP TABLE sums; UPDATE meta SET value = 1 WHERE name = 'format'")
    assert open_sweep(intact).rows() == before
    sweep(over("product", grid={"depth": list(range(21))}, cell={"eta": 0.5}), intact, processes=0)
    assert len(open_sweep(intact).rows()) == 21
    with sqlite3.connect(intact) as file:
        file.execute(CHANGES["another result"])
    with pytest.warns(RuntimeWarning, match="left out"):
        open_sweep(intact).rows()
