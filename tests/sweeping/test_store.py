"""The store of a sweep."""

import sqlite3
from pathlib import Path

import pytest

from undertow.sweeping import open_sweep, sweep
from undertow.sweeping.store import Store

FUNCTIONS = Path(__file__).with_name("functions.py")


def over(name, **given):
    return {"function": f"{FUNCTIONS}:{name}", **given}


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
