import json
from dataclasses import replace

import numpy as np
import pytest

from undertow.record import Edge, Role, Site
from undertow.rules import RULES
from undertow.serving.followed import Followed
from undertow.store import open_run
from undertow.watching import RunWriter


def sites(names):
    return tuple(Site(i, name, "addmm", Role.WEIGHT, parameters=(name,)) for i, name in enumerate(names))


def write(writer, steps, names=("b", "a"), level=1.0):
    graph = writer.graph(sites(names), [Edge(i, i + 1) for i in range(len(names) - 1)])
    for step in steps:
        writer.scalars(step, step * 1.0, {"loss": 1 / (step + 1)})
        speed = np.full(len(names), level + step, np.float32)
        writer.taped(step, step * 1.0, graph, {"learning_speed": speed, "grad_output": speed}, {}, {"loss": 1.0})
    assert writer.flush()


def view(followed):
    followed.refresh()
    return json.loads(followed.view())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.undertow"


def test_rows_are_taken_in_once_and_the_version_rises_with_them(path):
    with RunWriter(path, {"model": "Net"}) as writer:
        write(writer, range(3))
        followed = Followed(path)
        first = view(followed)
        assert view(followed) == first
        write(writer, range(3, 5))
        grown = view(followed)
    assert grown["version"] > first["version"]
    assert [each["quantities"]["speed"]["rows"] for each in (first, grown)] == [3, 5]
    assert {**grown, "version": 0} == {**view(Followed(path)), "version": 0}
    followed.close()


def test_files_of_several_ranks_are_shown_as_one_run(path):
    partial = {"partial": {"sites": {"grad_output": "squares"}}}
    with RunWriter(path, partial, rank=0, world=2) as first, RunWriter(path, partial, rank=1, world=2) as second:
        write(first, range(4), level=3.0)
        write(second, range(4), level=4.0)
        followed = Followed(path)
        followed.refresh()
        run = open_run(path)
        told = followed.step_view(2)
        assert [row[1] for row in told["readings"]] == pytest.approx(run.columns["grad_output"][2], rel=1e-5)
        assert run.columns["grad_output"][2, 0] == pytest.approx(np.hypot(5.0, 6.0))
        followed.close()


def test_another_run_in_its_place_is_shown_from_its_beginning(path):
    with RunWriter(path, {"model": "Old"}) as writer:
        write(writer, range(5))
    followed = Followed(path)
    assert "Old" in view(followed)["facts"]
    path.unlink()
    with RunWriter(path, {"model": "New"}) as writer:
        write(writer, range(2), names=("c", "b", "a"))
    told = view(followed)
    assert "New" in told["facts"]
    assert told["quantities"]["speed"]["names"] == ["a", "b", "c"]
    assert told["quantities"]["speed"]["rows"] == 2
    followed.close()


def test_when_the_models_graph_changes_the_one_taped_most_is_shown(path):
    with RunWriter(path, {}) as writer:
        write(writer, range(2))
        followed = Followed(path)
        assert view(followed)["quantities"]["speed"]["names"] == ["a", "b"]
        write(writer, range(2, 7), names=("d", "c"))
        told = view(followed)
        assert told["quantities"]["speed"]["names"] == ["c", "d"]
        assert told["quantities"]["speed"]["rows"] == 5
        followed.close()


def test_a_rule_that_fails_is_told_on_the_page_beside_what_others_found(path, monkeypatch):
    def failing(history):
        raise ArithmeticError(f"no verdict on {len(history.run)} steps")

    monkeypatch.setitem(RULES, "UT103", replace(RULES["UT103"], judge_run=failing))
    monkeypatch.setattr("undertow.serving.followed.JUDGE_AFTER", 0.0)
    with RunWriter(path, {"model": "Net", "unreached": ["fc.weight"]}) as writer:
        write(writer, range(3))
    followed = Followed(path)
    view(followed)
    followed.judge()
    shown = view(followed)
    assert "UT103 could not judge this run (ArithmeticError: no verdict on 3 steps)" in shown["events"][-1]["message"]
    assert shown["judged"]


def test_rows_whose_step_is_lost_are_left_out_and_the_others_stay_in_their_places(path):
    from undertow.record import Run
    from undertow.store import save_run

    columns = {"grad_output": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])}
    steps = {"step": np.array([0.0, np.nan, 20.0]), "time": np.zeros(3), "loss": np.ones(3)}
    save_run(Run({"model": "Net"}, sites(("b", "a")), (Edge(0, 1),), columns, steps=steps), path)
    followed = Followed(path)
    view(followed)
    followed.judge()
    assert followed._growth.step(1)[0].columns["grad_output"].tolist() == [[5.0, 6.0]]
    with pytest.raises(IndexError):
        followed.step_view(2)
