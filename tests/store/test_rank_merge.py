import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from undertow.columns import StoredColumns
from undertow.record import Edge, Role, Site
from undertow.store import open_run, reader
from undertow.watching import RunWriter

SITES = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))
RULES = {
    "scalars": {"grad_norm": "squares", "nonfinite": "max"},
    "parameters": {
        **dict.fromkeys(("grad_norm", "update_norm", "weight_norm"), "squares"),
        "update_ratio": "ratio",
        "progress": "share",
    },
    "sites": {"grad_output": "squares"},
    "edges": {"contribution": "sum"},
}
NAMES = ("fc2.weight", "fc1.weight")
apart_from_zero = st.floats(1e-3, 10, exclude_min=True) | st.floats(-10, -1e-3, exclude_max=True)
tensors = hnp.arrays(np.float64, (2, 12), elements=apart_from_zero)


def write(path, rank, world, steps, sharded, header=None):
    """What a rank writes; ``sharded(step)`` gives its parts of gradient, update and weights, each [parameters, n]."""
    with RunWriter(path, {"partial": RULES, **(header or {})}, rank=rank, world=world) as writer:
        graph = writer.graph(SITES, (Edge(0, 1),))
        for step in steps:
            gradient, update, weight = sharded(step)
            norms = [np.linalg.norm(each, axis=1) for each in (gradient, update, weight)]
            columns = dict(zip(("grad_norm", "update_norm", "weight_norm"), norms, strict=True))
            columns |= {"update_ratio": norms[1] / norms[2], "progress": -(gradient * update).sum(axis=1)}
            writer.parameters(step, NAMES, columns)
            writer.taped(
                step, 0.0, graph, {"grad_output": norms[0], "dead": np.full(2, rank)}, {"contribution": np.ones(1)}, {}
            )
            noted = {"grad_norm": np.linalg.norm(gradient), "loss": rank, "nonfinite": rank, "lr": rank}
            writer.scalars(step, float(rank), noted)
    return writer.path


@given(tensors, tensors, tensors, st.integers(2, 4))
@settings(max_examples=8, deadline=None)
def test_parts_become_what_the_whole_model_would_have_measured(tmp_path_factory, gradient, update, weight, world):
    path = tmp_path_factory.mktemp("ranks") / "run.undertow"
    for rank in range(world):
        write(
            path,
            rank,
            world,
            [0],
            lambda _, rank=rank: [np.array_split(t, world, axis=1)[rank] for t in (gradient, update, weight)],
        )
    run = open_run(path)
    g, u, w = (np.linalg.norm(each, axis=1) for each in (gradient, update, weight))
    found = {name: values[0] for name, values in run.parameter_columns.items()}
    assert found["grad_norm"] == pytest.approx(g, rel=1e-12)
    assert found["update_ratio"] == pytest.approx(u / w, rel=1e-12)
    descent = -(gradient * update).sum(axis=1)
    shares = descent / descent.sum() if descent.sum() > 0 else np.full(2, np.nan)
    assert found["progress"] == pytest.approx(shares, rel=1e-9, abs=1e-12, nan_ok=True)
    assert run.columns["grad_output"][0] == pytest.approx(g, rel=1e-12)
    assert run.edge_columns["contribution"].tolist() == [[world]]
    assert run.scalars["grad_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    assert (run.scalars["nonfinite"][0], run.scalars["lr"][0], run.scalars["time"][0]) == (world - 1, 0, 0)
    assert run.scalars["loss"][0] == run.columns["dead"][0, 0] == (world - 1) / 2
    assert run.header["ranks"] == {"world": world, "read": world}


def ones(_):
    return [np.ones((2, 4))] * 3


def test_rows_are_matched_by_step(tmp_path):
    path = tmp_path / "run.undertow"
    write(path, 0, 2, [0, 1, 2, 4], ones)
    write(path, 1, 2, [1, 2, 3, 4], ones)
    run, nan = open_run(path), np.nan
    assert run.steps["step"].tolist() == run.scalars["step"].tolist() == run.parameter_steps.tolist() == [0, 1, 2, 4]
    both = np.sqrt(8)
    assert run.columns["grad_output"][:, 0] == pytest.approx([nan, both, both, both], nan_ok=True)
    assert run.parameter_columns["grad_norm"][:, 0] == pytest.approx([nan, both, both, both], nan_ok=True)
    assert run.scalars["loss"].tolist() == [0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("there", [[], [1]])
def test_ranks_that_are_missing_leave_parts_unknown_and_means_of_what_is_there(tmp_path, there):
    path = tmp_path / "run.undertow"
    for rank in (0, *there):
        write(path, rank, 3, [0, 1], ones)
    run = open_run(path)
    assert np.isnan(run.columns["grad_output"]).all()
    assert run.scalars["loss"].tolist() == [np.mean([0, *there])] * 2
    assert run.header["ranks"] == {"world": 3, "read": 1 + len(there)}


def test_another_runs_files_stay_out(tmp_path):
    path = tmp_path / "run.undertow"
    write(path, 0, 2, [0], ones, {"run": "a"})
    write(path, 1, 2, [0], ones, {"run": "b"})
    assert open_run(path).header["ranks"]["read"] == 1


def test_events_say_whose_they_are(tmp_path):
    path = tmp_path / "run.undertow"
    for rank in range(2):
        with RunWriter(path, {}, rank=rank, world=2) as writer:
            writer.event(5 - rank, 0.0, "nonfinite", "inf")
    assert [(event.step, event.data.get("rank")) for event in open_run(path).events] == [(4, 1), (5, None)]


def test_large_columns_are_merged_when_they_are_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "run.undertow"
    for rank in range(2):
        write(path, rank, 2, range(50), ones)
    whole = open_run(path)
    monkeypatch.setattr(reader, "EAGER_BYTES", 10)
    assert isinstance(open_run(path).columns, StoredColumns)
    assert open_run(path) == whole


def test_a_rank_that_there_is_not():
    with pytest.raises(ValueError, match="rank 2 of 2 processes: ranks go from 0 to 1"):
        RunWriter("run.undertow", {}, rank=2, world=2)
