import numpy as np
import pytest

from sample_runs import SPIKE, large
from undertow.record import Run
from undertow.render.run_series import RunSeries
from undertow.render.run_view import run_view


def test_a_course_that_grows_is_the_course_of_the_whole(small_run):
    grown = RunSeries(_rows(small_run, 0, 7))
    for begin in range(7, 60, 13):
        grown.add(_rows(small_run, begin, begin + 13))
    assert run_view(grown, {}, [], [], True) == run_view(RunSeries(small_run), {}, [], [], True)


def test_a_step_that_is_noted_twice_counts_once():
    def noted(step, **values):
        return Run({}, (), scalars={"step": np.array([step], float), **{k: np.array([v]) for k, v in values.items()}})

    series = RunSeries(noted(0, grad_norm=1.0))
    series.add(noted(0, loss=2.0))
    series.add(noted(1, loss=1.0))
    assert series.noted == 2
    assert series.latest["loss"] == 1.0


def test_a_run_whose_optimizer_holds_none_of_the_parameters_is_drawn():
    columns = {"progress": np.empty((2, 0)), "weight_norm": np.empty((2, 0)), "update_norm": np.empty((2, 0))}
    run = Run({}, (), parameter_columns=columns, parameter_steps=np.arange(2.0))
    assert dict(RunSeries(run).rows("progress")) == {}


def test_a_spike_of_one_step_in_twenty_thousand_is_seen():
    run = large(sites=20)
    speed = RunSeries(run)._series("speed")
    bucket = int(np.searchsorted(speed.first, SPIKE, "right")) - 1
    assert speed.stride > 30
    assert speed.high[bucket].max() == np.nanmax(run.columns["learning_speed"])
    others = np.delete(speed.high, bucket, axis=0)
    assert others.max() < speed.high[bucket].max() / 1e4


def test_layers_read_by_parameter_agree_with_what_was_read_by_site(small_run):
    series = RunSeries(small_run)
    total = sum(last for last, _ in series.rows("progress").values())
    assert total == pytest.approx(1.0, abs=1e-5)
    name, column = small_run.parameters.index("0.weight"), small_run.parameter_columns
    bias = small_run.parameters.index("0.bias")
    moved = np.hypot(column["update_norm"][-1, name], column["update_norm"][-1, bias])
    there = np.hypot(column["weight_norm"][-1, name], column["weight_norm"][-1, bias])
    assert series.rows("update")["0"][0] == pytest.approx(moved / there, rel=1e-5)


def _rows(run, begin, end):
    part = slice(begin, end)
    groups = [
        {name: column[part] for name, column in group.items()}
        for group in (run.columns, run.edge_columns, run.steps, run.scalars, run.parameter_columns)
    ]
    return Run(run.header, run.sites, run.edges, *groups[:4], run.parameters, groups[4], run.parameter_steps[part])
