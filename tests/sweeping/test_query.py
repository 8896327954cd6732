"""Questions to a store, answered as one works them out by hand."""

import csv
import json
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.sweeping import open_sweep
from undertow.sweeping.cells import CellOutcome
from undertow.sweeping.store import Finished, Store


def stored(path, cells):
    """A store of (settings, result) pairs; a result that is a text is an error."""
    with Store(path) as store:
        store.note("work", "test")
        store.note("name", "made up")
        keys = [f"k{i}" for i in range(len(cells))]
        store.plan("test", ((key, cell) for key, (cell, _) in zip(keys, cells, strict=True)))
        outcomes = [CellOutcome(None, r, f"Traceback: {r}") if isinstance(r, str) else CellOutcome(r) for _, r in cells]
        store.write(Finished(k, o, 1, 1, 0.1) for k, o in zip(keys, outcomes, strict=True))
    return open_sweep(path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    cells = [
        (
            {"depth": d, "eta": e, "activation": a, "seed": s},
            {"accuracy": d * e + s / 100, "lost": s == 1, "curve": [1, 2]},
        )
        for d in (10, 2)
        for e in (0.1, 0.01)
        for a in ("tanh", "relu")
        for s in range(3)
    ]
    return stored(tmp_path_factory.mktemp("results") / "a.sweep", cells)


def test_a_pivot_is_what_one_works_out_by_hand(measured):
    pivot = measured.pivot("depth", "eta", "accuracy", activation="tanh")
    assert (pivot.rows, pivot.columns) == ([2, 10], [0.01, 0.1])
    np.testing.assert_allclose(pivot.values, [[0.03, 0.21], [0.11, 1.01]])
    assert pivot.counts.tolist() == [[3, 3], [3, 3]]
    assert measured.pivot("activation", "seed", "lost", "max").values.tolist() == [[0, 1, 0]] * 2
    assert measured.pivot("depth", "eta", "accuracy", "count").values.tolist() == [[6, 6], [6, 6]]


numbers = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-5, 5), st.booleans())


@settings(max_examples=25, deadline=None)
@given(cells=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), numbers), min_size=1, max_size=30))
def test_any_pivot_and_any_curve_agree_with_statistics(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "a.sweep"
    results = stored(path, [({"x": x, "y": y, "n": i}, {"v": v}) for i, (x, y, v) in enumerate(cells)])
    groups = {}
    for x, y, v in cells:
        if v is not None:
            groups.setdefault((x, y), []).append(float(v))
    pivot = results.pivot("x", "y", "v", "median")
    for (x, y), found in groups.items():
        assert pivot.values[pivot.rows.index(x), pivot.columns.index(y)] == statistics.median(found)
    assert pivot.counts.sum() == sum(map(len, groups.values()))
    for row in results.curve("x", "v", by="y"):
        found = groups[row["x"], row["y"]]
        assert (row["mean"], row["low"], row["high"]) == (statistics.fmean(found), min(found), max(found))


def test_filters_take_a_value_or_several(measured):
    assert {row["seed"] for row in measured.rows(seed=[0, 2], depth=2)} == {0, 2}
    assert measured.rows(depth=3) == []
    assert measured.swept() == {"depth": [2, 10], "eta": [0.01, 0.1], "activation": ["tanh", "relu"], "seed": [0, 1, 2]}


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda r: r.pivot("dpeth", "eta", "accuracy"), "no setting 'dpeth': did you mean 'depth'"),
        (lambda r: r.pivot("depth", "eta", "acuracy"), "no result 'acuracy': did you mean 'accuracy'"),
        (lambda r: r.pivot("depth", "eta", "accuracy", "avg"), "no way 'avg' to put values together"),
        (lambda r: r.rows(epoch=3), "no setting 'epoch'"),
    ],
)
def test_a_name_that_there_isnt_is_told_with_the_nearest(measured, ask, told):
    with pytest.raises(ValueError, match=told):
        ask(measured)


def test_tables_of_other_libraries_hold_the_same(measured, tmp_path):
    import pandas
    import pyarrow
    import pyarrow.parquet

    rows = measured.rows()
    assert measured.arrow().to_pylist() == rows
    frame = measured.frame()
    assert frame.groupby("depth")["accuracy"].mean().to_dict() == pytest.approx({2: 0.12, 10: 0.56})
    told = [{**row, "status": "done"} for row in rows]
    assert pyarrow.parquet.read_table(measured.save(tmp_path / "a.parquet")).to_pylist() == told
    with pyarrow.ipc.open_file(measured.save(tmp_path / "a.arrow")) as file:
        assert file.read_all().to_pylist() == told
    assert json.loads(measured.save(tmp_path / "a.json").read_text())["cells"] == told
    with measured.save(tmp_path / "a.csv").open(newline="") as file:
        assert [float(row["accuracy"]) for row in csv.DictReader(file)] == [row["accuracy"] for row in rows]
    assert len(pandas.read_csv(tmp_path / "a.csv")) == len(rows)
