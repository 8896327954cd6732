"""What is written for readers and for programs."""

import math


def test_files_are_there_for_readers_and_programs(folder, results):
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(folder / "results.parquet").num_rows == results["networks"]
    figures = {file.name for file in (folder / "figures").iterdir()}
    assert figures == {f"{n}.{e}" for n in ("tanh-map", "other-maps", "bias-map", "budgets") for e in ("png", "svg")}
    assert {claim["holds"] for claim in results["claims"]} <= {"yes", "partly", "no"}
    assert all("nan" not in claim["measured"] for claim in results["claims"])
    assert math.isfinite(results["seconds"])
