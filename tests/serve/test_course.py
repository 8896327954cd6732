import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.making import SPIKE, large
from undertow.record import Run
from undertow.render.buckets import Buckets
from undertow.render.run_page import saved, view
from undertow.render.run_series import Course

VALUES = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=90), st.lists(st.integers(0, 9), max_size=30))
@settings(deadline=None, max_examples=60)
def test_buckets_keep_every_extreme_however_the_rows_arrive(rows, cuts):
    values = np.array(rows, np.float32).reshape(-1, 2)
    at_once, by_parts = Buckets(2, 8), Buckets(2, 8)
    at_once.add(np.arange(len(values)), values)
    begin = 0
    for cut in [*cuts, len(values)]:
        part = values[begin : begin + cut]
        by_parts.add(np.arange(begin, begin + len(part)), part)
        begin += len(part)
    by_parts.add(np.arange(begin, len(values)), values[begin:])
    for name in ("low", "high", "first", "last", "latest"):
        assert np.array_equal(getattr(at_once, name), getattr(by_parts, name), equal_nan=True), name
    assert at_once.count <= 8
    for k in range(at_once.count):
        inside = values[k * at_once.stride : (k + 1) * at_once.stride]
        assert np.array_equal(at_once.low[k], np.fmin.reduce(inside), equal_nan=True)
        assert np.array_equal(at_once.high[k], np.fmax.reduce(inside), equal_nan=True)


def test_a_course_that_grows_is_the_course_of_the_whole(small_run):
    grown = Course(_rows(small_run, 0, 7))
    for begin in range(7, 60, 13):
        grown.add(_rows(small_run, begin, begin + 13))
    assert view(grown, {}, [], [], True) == view(Course(small_run), {}, [], [], True)


def test_a_step_that_is_noted_twice_counts_once():
    def noted(step, **values):
        return Run({}, (), scalars={"step": np.array([step], float), **{k: np.array([v]) for k, v in values.items()}})

    course = Course(noted(0, grad_norm=1.0))
    course.add(noted(0, loss=2.0))
    course.add(noted(1, loss=1.0))
    assert course.noted == 2
    assert course.latest["loss"] == 1.0


def test_a_spike_of_one_step_in_twenty_thousand_is_seen():
    run = large(sites=20)
    speed = Course(run)._series("speed")
    bucket = int(np.searchsorted(speed.first, SPIKE, "right")) - 1
    assert speed.stride > 30
    assert speed.high[bucket].max() == np.nanmax(run.columns["learning_speed"])
    others = np.delete(speed.high, bucket, axis=0)
    assert others.max() < speed.high[bucket].max() / 1e4


def test_layers_read_by_parameter_agree_with_what_was_read_by_site(small_run):
    course = Course(small_run)
    total = sum(last for last, _ in course.rows("progress").values())
    assert total == pytest.approx(1.0, abs=1e-5)
    name, column = small_run.parameters.index("0.weight"), small_run.parameter_columns
    bias = small_run.parameters.index("0.bias")
    moved = np.hypot(column["update_norm"][-1, name], column["update_norm"][-1, bias])
    there = np.hypot(column["weight_norm"][-1, name], column["weight_norm"][-1, bias])
    assert course.rows("update")["0"][0] == pytest.approx(moved / there, rel=1e-5)


def test_a_run_without_any_taped_step_has_a_page():
    run = Run({"model": "Compiled"}, (), scalars={"step": np.arange(3.0), "loss": np.array([3.0, 2.0, 1.0])})
    assert "Compiled" in saved(run, [], "compiled")
    assert "compiled" in saved(Run({}, ()), [], "compiled")


def _rows(run, begin, end):
    part = slice(begin, end)
    groups = [
        {name: column[part] for name, column in group.items()}
        for group in (run.columns, run.edge_columns, run.steps, run.scalars, run.parameter_columns)
    ]
    return Run(run.header, run.sites, run.edges, *groups[:4], run.parameters, groups[4], run.parameter_steps[part])
