"""One writer of tables: every format holds the same table, whole or not at all."""

import csv
import json

import numpy as np
import pyarrow.ipc
import pyarrow.parquet
import pytest

from undertow.tables import arrow, of_rows, write_table

ROWS = [{"depth": 1, "name": 'a,"b"\n', "right": 0.5}, {"depth": 2.5, "right": None, "diverged": True}]
TABLE = of_rows(ROWS)


def test_rows_that_lack_a_name_have_nothing_there():
    assert list(TABLE) == ["depth", "name", "right", "diverged"]
    assert arrow(TABLE).to_pylist() == [
        {"depth": 1.0, "name": 'a,"b"\n', "right": 0.5, "diverged": None},
        {"depth": 2.5, "name": None, "right": None, "diverged": True},
    ]


def test_all_formats_hold_the_same(tmp_path):
    parquet = pyarrow.parquet.read_table(write_table(TABLE, tmp_path / "a.parquet", {"model": "Net"}))
    with pyarrow.ipc.open_file(write_table(TABLE, tmp_path / "a.ARROW", {"model": "Net"})) as file:
        assert file.read_all().equals(parquet)
    assert json.loads(parquet.schema.metadata[b"undertow"]) == {"model": "Net"}
    with write_table(TABLE, tmp_path / "a.csv").open(newline="") as text:
        rows = list(csv.reader(text))
    assert rows == [list(TABLE), ["1", 'a,"b"\n', "0.5", ""], ["2.5", "", "", "True"]]


def test_arrays_are_columns_as_lists_are(tmp_path):
    written = write_table({"step": np.arange(2), "loss": np.array([0.5, np.nan])}, tmp_path / "a.csv")
    assert written.read_text() == "step,loss\n0,0.5\n1,nan\n"


def test_columns_of_unequal_length_and_other_suffixes_leave_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match=r"'a\.xlsx'; the suffixes known are \.csv, \.parquet, \.arrow"):
        write_table(TABLE, tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="argument 2 is longer"):
        write_table({"a": [1], "b": [1, 2]}, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
