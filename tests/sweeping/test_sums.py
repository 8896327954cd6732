"""What somebody, or something, has changed in a sweep's file is left out and told, never taken for a result."""

import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pytest

from undertow.sweeping import open_sweep, sweep

FUNCTIONS = Path(__file__).with_name("functions.py")


def over(name, **given):
    return {"function": f"{FUNCTIONS}:{name}", **given}


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
