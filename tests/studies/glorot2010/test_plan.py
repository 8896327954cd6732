"""What all experiments found, put together, and the table of it."""

import numpy as np
import pytest
from pyarrow import parquet

from undertow.studies.glorot2010.config import CONFIGURATIONS, SHAPES
from undertow.studies.glorot2010.training import PLATEAU

LAYERS = {name: c.hidden for name, c in CONFIGURATIONS.items()}


def test_every_network_is_looked_at_in_every_layer(results):
    points = results["amount"]["points"]
    for source in ("digits", SHAPES):
        for name, hidden in LAYERS.items():
            found = results["training"][source][name]
            assert np.shape(found["mean"]) == np.shape(found["delta"]) == (2, points, hidden)
            assert np.shape(found["singular"]) == (2, points, hidden - 1)
            assert len(found["examples"]) == points
            assert found["examples"][-1] == results["amount"]["shapes" if source == SHAPES else "images"]
            assert found["eta"] in CONFIGURATIONS[name].etas
            best = min(found["pilot"].values())
            largest = max(CONFIGURATIONS[name].etas)
            assert found["pilot"][f"{found['eta']:g}"] == best if best < PLATEAU else found["eta"] == largest


def test_a_row_for_each_look_at_a_layer(folder, results):
    table = parquet.read_table(folder / "results.parquet")
    looks = 2 * 2 * results["amount"]["points"] * sum(LAYERS.values())
    assert table.num_rows == looks
    row = table.slice(looks - 1).to_pylist()[0]
    found = results["training"][row["source"]][row["network"]]
    assert row["error"] == pytest.approx(found["error"][row["member"]][-1])
    assert row["mean"] == pytest.approx(found["mean"][row["member"]][-1][row["layer"] - 1])
