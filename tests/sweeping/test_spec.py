"""What a specification says, and what is said of one that can't be."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.lab import load
from undertow.sweeping import Spec
from undertow.sweeping.labsettings import SETTINGS
from undertow.sweeping.running import SweepPlan


def cells(**given):
    return list(Spec.of(given).cells())


def test_grids_draws_and_seeds_multiply_and_the_last_runs_fastest():
    found = cells(
        cell={"eta": 1}, grid={"a": [1, 2], "b": [3, 4, 5]}, random={"draws": 4, "c": {"from": 0, "to": 1}}, seeds=2
    )
    assert len(found) == 2 * 3 * 4 * 2
    assert [cell["seed"] for cell in found[:4]] == [0, 1, 0, 1]
    assert {cell["a"] for cell in found[:24]} == {1}
    assert all(cell["eta"] == 1 and 0 <= cell["c"] <= 1 for cell in found)
    assert len({cell["c"] for cell in found}) == 4


def test_several_grids_make_their_union_and_a_cell_in_two_of_them_is_one():
    spec = Spec.of({"cell": {"data": "digits"}, "grid": [{"depth": [1, 2]}, {"depth": [2, 3]}]})
    assert [cell["depth"] for cell in spec.cells()] == [1, 2, 2, 3]
    assert [cell.settings["depth"] for cell in SweepPlan.of(spec).cells] == [1, 2, 3]


@given(st.integers(0, 5), st.integers(1, 30), st.integers(1, 30))
def test_more_draws_or_other_axes_leave_the_earlier_draws_as_they_were(seed, some, more):
    eta = {"from": 1e-3, "to": 1.0, "spacing": "log"}
    before = cells(random={"draws": some, "draw_seed": seed, "eta": eta})
    after = cells(
        random={"draws": some + more, "draw_seed": seed, "width": {"from": 1, "to": 9, "integer": True}, "eta": eta}
    )
    assert [cell["eta"] for cell in after[:some]] == [cell["eta"] for cell in before]
    assert all(isinstance(cell["width"], int) and 1 <= cell["width"] <= 9 for cell in after)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"gird": {}}, "a sweep's specification has no key 'gird': did you mean 'grid'?"),
        ({"run": {"retry": 2}}, r"\[run\] has no key 'retry': did you mean 'retries'?"),
        ({"run": {"retries": -1}}, "retries = -1: give a whole number from 0"),
        ({"grid": {"eta": {"from": 1, "to": 2, "cuont": 3}}}, "the range of eta has no key 'cuont': did you mean"),
        ({"grid": {"eta": {"from": 1, "to": 2}}}, "eta: count = None"),
        ({"grid": {"eta": {"from": 0, "to": 2, "count": 3, "spacing": "log"}}}, "both ends must be positive"),
        ({"grid": {"eta": {"from": "a", "to": 2, "count": 3}}}, "both ends of a range are numbers"),
        ({"grid": {"eta": []}}, "a sweep without cells"),
        ({"grid": {"eta": 0.1}}, r"eta = 0.1 is one value, not an axis: move it to \[cell\]"),
        ({"grid": 3}, "grid is no table"),
        ({"cell": {"eta": 1}, "grid": {"eta": [1]}}, r"eta is in \[cell\] and in \[grid\]"),
        ({"cell": {"seed": 1}, "seeds": 3}, "both seeds and a setting seed"),
        ({"seeds": "3"}, "seeds = '3': give how many"),
        ({"random": {"eta": [1, 2]}}, "draws = 0: give both"),
        ({"function": "train"}, "write it as FILE.py:FUNCTION"),
    ],
)  # fmt: skip
def test_a_specification_that_cant_be_says_what_and_what_instead(given, told):
    with pytest.raises(ValueError, match=told):
        Spec.of(given)


def test_the_specifications_in_the_documentation_are_right(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text("utf-8")
    (tmp_path / "train.py").write_text("def train(depth, optimizer, seed): ...")
    specs = [Spec.of(tomllib.loads(block), tmp_path) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
    assert [len(SweepPlan.of(spec).cells) for spec in specs] == [5 * 3 * 15 * 4, 3 * 3 * 2]
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    assert told == [name for name in SETTINGS if name != "hidden"]


def test_data_that_cant_be_had_are_looked_for_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("undertow.sweeping.labwork.load", lambda name: asked.append(name) or load(name))
    spec = Spec.of({"cell": {"data": str(tmp_path)}, "grid": {"depth": list(range(30))}})
    with pytest.raises(ValueError, match=r"nothing was run:\n  .*train-images.*\n    \(30 cells; the first: "):
        SweepPlan.of(spec)
    assert asked == [str(tmp_path)]
