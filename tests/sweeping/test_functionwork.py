"""Cells that call a function of the user's."""

from pathlib import Path

import pytest

from undertow.sweeping import open_sweep, sweep

FUNCTIONS = Path(__file__).with_name("functions.py")


def over(name, **given):
    return {"function": f"{FUNCTIONS}:{name}", **given}


def test_a_function_is_called_once_for_each_cell_and_never_again(store, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    spec = over("noted", cell={"folder": str(marks)}, grid={"number": [1, 2]})
    sweep(spec, store, processes=0)
    more = {**spec, "grid": {"number": [2, 3, 1]}}
    results = sweep(more, store, processes=0)
    assert [row["value"] for row in results.rows()] == [1, 2, 3]
    assert {file.name: file.read_text() for file in marks.iterdir()} == {"1": "x", "2": "x", "3": "x"}
    sweep({**more, "version": 2}, store, processes=0)
    assert {file.read_text() for file in marks.iterdir()} == {"xx"}
    assert len(open_sweep(store).rows()) == 3, "results of the version before aren't mixed in"


def test_defaults_are_told_and_seeds_passed_on(store):
    rows = sweep(over("product", seeds=2, grid={"depth": [3]}), store, processes=0).rows()
    assert rows == [{"depth": 3, "eta": 0.5, "seed": s, "product": 1.5, "seen": s} for s in (0, 1)]


def test_a_function_itself_can_be_given(store):
    from undertow.theory.meanfield import chi

    given = {
        "function": chi,
        "cell": {"activation": "tanh"},
        "grid": {"weight_var": [1.0, 4.0], "bias_var": [0.0, 0.5]},
    }
    rows = sweep(given, store, processes=0).rows()
    assert [row["value"] for row in rows] == [chi("tanh", w, b) for w in (1.0, 4.0) for b in (0.0, 0.5)]
    with pytest.raises(ValueError, match="not at the top level of a file"):
        sweep({"function": lambda depth: depth, "grid": {"depth": [1]}}, store)


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        ({"dpeth": [1]}, "has no argument 'dpeth': did you mean 'depth'"),
        ({"eta": [1.0]}, "needs the argument 'depth', which the cell doesn't set"),
    ],
)
def test_arguments_that_a_function_doesnt_have_are_told_before_it_is_called(store, grid, told):
    with pytest.raises(ValueError, match=told):
        sweep(over("product", grid=grid), store)
    assert not store.exists()


def test_a_function_that_leaves_or_returns_what_cant_be_kept_has_failed(store):
    failed = sweep(over("leaving", grid={"number": [3]}), store, processes=0).failed()
    assert failed[0]["error"] == "SystemExit: 3"
    failed = sweep(over("strange", grid={"number": [3]}), store, processes=0).failed()
    assert "the result 'thing' is a object: return numbers" in failed[0]["error"]
