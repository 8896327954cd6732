"""The table of what was measured."""

import pytest
from pyarrow import parquet


def test_a_row_for_each_look_at_a_layer(folder, results):
    table = parquet.read_table(folder / "results.parquet").to_pylist()
    [row] = [
        r
        for r in table
        if (r["experiment"], r["method"], r["member"], r["layer"]) == ("methods", "0.99N", 1, 3)
        and r["update"] == results["methods"]["0.99N"]["updates"][-1]
    ]
    assert row["squared_error"] == pytest.approx(results["methods"]["0.99N"]["error"][1][-1])
    assert row["moved"] == pytest.approx(results["methods"]["0.99N"]["moved"][1][-1][2])
