import json

import numpy as np
import pandas
import pyarrow.parquet
import pytest

from undertow.record import Edge, Event, Role, Run, Site
from undertow.store import export, table

RUN = Run(
    {"model": "Net", "loss": np.inf},
    (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT), Site(2, 'a,b\n"c', "add", Role.JOIN)),
    (Edge(0, 1), Edge(1, 2)),
    {"grad_output": np.array([[1, 2, np.nan], [4, 5, np.inf]], np.float32)},
    {"share": np.array([[1.0, 0.5], [0.25, 1.0]])},
    {"step": np.array([10.0, 20.0]), "loss": np.array([2.5, np.nan])},
    {"step": np.arange(4.0), "accuracy": np.array([0.1, 0.2, 0.3, np.nan])},
    ("fc1.weight", "fc2.weight"),
    {"lr": np.array([[0.1, 0.2]], np.float32)},
    np.array([10.0]),
    (Event(3, 0.5, "nonfinite", "the gradient became inf"),),
)
TABLES = ("sites", "edges", "parameters", "scalars", "events")


@pytest.mark.parametrize("of", TABLES)
def test_parquet_and_csv_hold_the_same_table(tmp_path, of):
    frame = pandas.DataFrame(table(RUN, of))
    read = pyarrow.parquet.read_table(export(RUN, tmp_path / "run.parquet", of))
    pandas.testing.assert_frame_equal(read.to_pandas(), frame, check_dtype=False)
    assert json.loads(read.schema.metadata[b"undertow"]) == {"model": "Net", "loss": "inf"}
    again = pandas.read_csv(export(RUN, tmp_path / "run.csv", of))
    pandas.testing.assert_frame_equal(again, frame, check_dtype=False)


def test_every_number_is_in_its_row():
    frame = pandas.DataFrame(table(RUN)).set_index(["step", "module"])
    assert frame.grad_output[20.0, "fc1"] == 5
    assert np.isnan(frame.loss[20.0, "fc1"])
    assert pandas.DataFrame(table(RUN, "edges")).query("step == 20 and target == 1").share.item() == 0.25


def test_json_holds_everything(tmp_path):
    assert Run.from_dict(json.loads(export(RUN, tmp_path / "run.json").read_text())) == RUN


def test_what_there_is_not(tmp_path):
    with pytest.raises(
        ValueError, match=r"can't export a Run as 'run\.xlsx'; the suffixes known are \.json, \.parquet, \.csv"
    ):
        export(RUN, tmp_path / "run.xlsx")
    with pytest.raises(ValueError, match="no table of 'layers'; there are: sites, edges"):
        export(RUN, tmp_path / "run.csv", "layers")
    assert not list(tmp_path.iterdir())
