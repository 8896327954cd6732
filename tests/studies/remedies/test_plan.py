"""Every level of every factor is crossed with every other's."""

import pytest
from pyarrow import parquet

from undertow.studies.remedies.config import STARTS
from undertow.studies.remedies.table import best_accuracy


def test_the_design_is_crossed_in_full(folder, results):
    depths = results["factors"]["depth"]
    assert best_accuracy(results).shape == (4, 5, len(results["rates"]), len(depths), 5)
    table = parquet.read_table(folder / "results.parquet").to_pylist()
    assert (
        len(table)
        == results["amount"]["networks"]
        == 4 * 5 * 5 * len(depths) * sum(map(len, results["rates"].values()))
    )
    row = next(r for r in table if (r["activation"], r["architecture"], r["start"]) == ("gelu", "residual", "He"))
    found = results["accuracy"]["gelu"]["residual"][row["optimizer"]][depths.index(row["depth"])][STARTS.index("He")]
    assert row["accuracy"] == pytest.approx(found[results["rates"][row["optimizer"]].index(row["rate"])])
