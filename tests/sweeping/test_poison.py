"""A cell that returns, raises or does what nobody expects costs itself and no other."""

import runpy
import time
from pathlib import Path

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
