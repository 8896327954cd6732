import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.growing import EDGES, SITES, edges, expected, numbers_of, row, write
from undertow.analysis.attribution import attribute
from undertow.columns import StoredColumns
from undertow.store import Position, RunReader, StoreError, open_run, reader, save_run
from undertow.watching import RunWriter


def test_what_was_written_is_read(tmp_path):
    with RunWriter(tmp_path / "run.undertow", {}) as writer:
        write(writer, range(3000))
    run = open_run(writer.path)
    assert numbers_of(run) == expected(range(3000))
    assert attribute(run, step=7) == attribute(expected(range(3000)), step=7)
    assert [path.name for path in tmp_path.iterdir()] == ["run.undertow"]


READS = """
import sys
import numpy as np
from undertow.store import RunReader, open_run
seen, rows = None, 0
with RunReader(sys.argv[1]) as reader:
    while rows < 2000:
        now = reader.refresh()
        if now == seen:
            continue
        part, seen = reader.tail(seen), now
        assert np.array_equal(part.steps["step"], np.arange(rows, rows + len(part))), "a gap, or a row twice"
        rows += len(part)
        assert rows >= sum(now.taped), "less than was promised"
        if len(part):
            rng = np.random.default_rng(int(part.steps["step"][-1]))
            assert np.array_equal(part.columns["grad_output"][-1], rng.random(5, np.float32))
        seen = seen._replace(taped=(rows,))
print(rows, len(open_run(sys.argv[1])))
"""


def test_several_processes_read_while_it_grows(tmp_path):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}) as writer:
        readers = [subprocess.Popen([sys.executable, "-c", READS, path], stdout=subprocess.PIPE) for _ in range(3)]
        for start in range(0, 2000, 100):
            write(writer, range(start, start + 100))
            writer.flush()
        answers = [process.communicate()[0] for process in readers]
    assert answers == [b"2000 2000\n"] * 3


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
@settings(max_examples=8, deadline=None)
def test_parts_make_the_whole(tmp_path_factory, sizes):
    path, seen, parts, first = tmp_path_factory.mktemp("parts") / "run.undertow", None, [], 0
    with RunWriter(path, {}) as writer, RunReader(path) as growing:
        for size in sizes:
            write(writer, range(first, first + size))
            writer.flush()
            parts.append(growing.tail(seen))
            seen, first = growing.refresh(), first + size
            assert growing.refresh() == seen
            assert len(growing.tail(seen)) == 0
    whole = open_run(path)
    for name in whole.columns:
        together = [part.columns[name] for part in parts if name in part.columns]
        assert np.array_equal(np.concatenate(together), whole.columns[name])
    assert sum((part.events for part in parts), ()) == whole.events


def test_parameters_that_come_and_go(tmp_path):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}) as writer:
        for step in range(6):
            names = ("head", "body") if step in (2, 3) else ("head",)
            writer.parameters(step, names, {"grad_norm": np.arange(len(names)) + np.float32(step)})
    run = open_run(path)
    assert (run.parameters, run.parameter_steps.tolist()) == (("head", "body"), [0, 1, 2, 3, 4, 5])
    nan = np.nan
    assert np.array_equal(run.parameter_columns["grad_norm"][:, 1], [nan, nan, 3, 4, nan, nan], equal_nan=True)
    assert run.parameter_columns["grad_norm"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    path = tmp_path / "run.undertow"
    save_run(expected(range(5)), path)
    with RunReader(path) as growing:
        seen = growing.refresh()
        path.unlink()
        with pytest.raises(StoreError, match="does not exist"):
            growing.refresh()
        save_run(expected(range(7, 10)), path)
        assert growing.tail(seen).steps["step"].tolist() == [7, 8, 9]


def test_large_columns_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "run.undertow"
    save_run(expected(range(300)), path)
    monkeypatch.setattr(reader, "EAGER_BYTES", 1000)
    run = open_run(path)
    assert isinstance(run.columns, StoredColumns)
    assert len(run) == 300
    path.rename(tmp_path / "moved.undertow")
    assert run == expected(range(300)), "what is open stays open"


def test_a_position_says_what_there_is(tmp_path):
    with RunWriter(tmp_path / "run.undertow", {}) as writer:
        write(writer, range(3))
        writer.update_header({"done": True})
        writer.flush()
        with RunReader(writer.path) as growing:
            at = growing.refresh()
    assert at == Position(at.run, (3,), 3, (3,), 1, 1)
    assert open_run(writer.path).header == {"done": True}


@pytest.mark.parametrize(("journal", "ends"), [("wal", "-wal"), ("rollback", "-journal")])
def test_the_journal_that_was_asked_for(tmp_path, journal, ends):
    with RunWriter(tmp_path / "run.undertow", {}, journal=journal) as writer:
        write(writer, range(3))
        writer.flush()
        beside = {path.name for path in tmp_path.iterdir()}
    assert (f"run.undertow{ends}" in beside) == (journal == "wal")


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda shm: shm.symlink_to("/proc/no/such/folder")])
def test_where_memory_cannot_be_shared_the_rollback_journal_is_used(tmp_path, spoil):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {}) as writer:
        write(writer, range(3))
    spoil(Path(f"{path}-shm"))  # as on a file system where it can't be made
    with RunWriter(path, {}, resume=True) as writer:
        write(writer, range(3, 9))
        assert writer.flush()
        assert writer.path == str(path)
        assert not Path(f"{path}-wal").exists()
        assert numbers_of(open_run(path)) == expected(range(9))
    assert numbers_of(open_run(path)) == expected(range(9))


def test_one_step_is_read_alone(tmp_path):
    save_run(expected(range(1500)), tmp_path / "run.undertow")
    with RunReader(tmp_path / "run.undertow") as growing:
        for place in (0, 1024, 1499, -1, -1500):
            run = growing.at(place)
            assert (run.steps["step"].tolist(), len(run)) == ([place % 1500], 1)
            assert np.array_equal(run.columns["grad_output"][0], row(place % 1500)["grad_output"])
            assert np.array_equal(run.edge_columns["contribution"][0], edges(place % 1500)["contribution"])
        for place in (1500, -1501):
            with pytest.raises(IndexError, match=f"no recorded step {place}: there are 1500"):
                growing.at(place)


def test_another_session_goes_on_with_the_run(tmp_path):
    path = tmp_path / "run.undertow"
    with RunWriter(path, {"model": "Net"}) as writer:
        write(writer, range(40))
        assert writer.reached == (-1, 0.0)
    with RunWriter(path, {"host": "b"}, resume=True) as writer:
        assert writer.reached == (39, 3.9)
        assert writer.graph(SITES, EDGES) == 0
        write(writer, range(40, 60))
    run = open_run(path)
    assert numbers_of(run) == expected(range(60))
    assert run.header == {"model": "Net", "host": "b"}
    sessions = [event for event in run.events if event.kind == "session"]
    assert [(event.step, event.data["session"], event.data["taped"]) for event in sessions] == [(0, 1, 0), (40, 2, 40)]


def test_a_graph_that_changes(tmp_path):
    path = tmp_path / "run.undertow"
    shorter = SITES[:3], EDGES[:2]
    with RunWriter(path, {}) as writer:
        whole, part = writer.graph(SITES, EDGES), writer.graph(*shorter)
        assert (whole, part, writer.graph(SITES, EDGES)) == (0, 1, 0)
        for step in range(10):
            writer.taped(step, 0.0, part if step % 3 == 2 else whole, row(step, 3 if step % 3 == 2 else 5), {}, {})
    assert open_run(path).steps["step"].tolist() == [0, 1, 3, 4, 6, 7, 9]
    assert open_run(path, graph=1).steps["step"].tolist() == [2, 5, 8]
    assert (open_run(path, graph=1).sites, open_run(path, graph=1).header["graphs"]) == (SITES[:3], [7, 3])
    with pytest.raises(StoreError, match="has no graph 2: it has 2"):
        open_run(path, graph=2)


def test_what_is_measured_may_change(tmp_path):
    path, nan = tmp_path / "run.undertow", np.nan
    given = [
        {"dead": np.array([nan, 1, nan, nan, nan], np.float32)},
        {"dead": np.array([nan, 2, nan, nan, 3], np.float32)},
        {"dead": np.full(5, nan, np.float32)},
        {"coherence": np.arange(5.0)},
        {"coherence": np.arange(5, dtype=np.float32), "dead": np.arange(5)},
    ]
    with RunWriter(path, {}) as writer:
        graph = writer.graph(SITES, EDGES)
        for step, values in enumerate(given):
            writer.taped(step, 0.0, graph, values, {}, {"loss": 1.0} if step else {})
            writer.flush()
    run, missing = open_run(path), np.full(5, nan)
    for name in ("dead", "coherence"):
        assert np.array_equal(run.columns[name], [values.get(name, missing) for values in given], equal_nan=True)
    assert run.columns["coherence"].dtype == np.float64
    assert np.array_equal(run.steps["loss"], [nan, 1, 1, 1, 1], equal_nan=True)
