"""One session that writes to a file, without any thread: a batch is in it whole, or not at all."""

import os
import sqlite3
import threading

import pytest

from store.growing import EDGES, SITES, edges, row
from undertow.store import Batch, RunFile, WritingEnded, open_run
from undertow.store.appender import about_graph

GRAPH, SIZES = about_graph(SITES, EDGES), (len(SITES), len(EDGES))


def batch_of(steps):
    batch = Batch()
    for step in steps:
        batch.taped(GRAPH, SIZES, row(step), edges(step), {"step": step, "time": step / 10, "loss": 1.0})
        batch.scalars({"step": step, "time": step / 10, "loss": 1.0})
    return batch


def test_what_is_committed_is_in_the_file_when_commit_returns_and_no_thread_was_made(tmp_path):
    before = threading.active_count()
    file = RunFile.begin(tmp_path / "run.undertow", {"model": "Net"})
    for first in range(0, 30, 10):
        file.commit(batch_of(range(first, first + 10)))
        run = open_run(file.path)
        assert run.steps["step"].tolist() == run.scalars["step"].tolist() == list(range(first + 10))
    assert threading.active_count() == before
    file.close()
    assert os.listdir(tmp_path) == ["run.undertow"]
    assert [event.kind for event in open_run(file.path).events] == ["session"]


def test_a_commit_that_fails_leaves_the_file_as_it_was_and_can_be_repeated(tmp_path, monkeypatch):
    file = RunFile.begin(tmp_path / "run.undertow", {})
    file.commit(batch_of(range(5)))
    before = open_run(file.path)
    batch = batch_of(range(5, 2000))  # more than become a block: rows, blocks and the layout have to go back
    write = Batch.write

    def half(batch, into):
        write(batch, into)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Batch, "write", half)
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="disk is full"):
            file.commit(batch)
        assert open_run(file.path) == before
    monkeypatch.undo()
    file.commit(batch)
    file.close()
    assert open_run(file.path).steps["step"].tolist() == list(range(2000))


def test_who_goes_on_with_a_run_ends_the_session_before(tmp_path):
    path = tmp_path / "run.undertow"
    first = RunFile.begin(path, {})
    first.commit(batch_of(range(3)))
    second = RunFile.begin(path, {}, resume=True)
    assert (second.reached, second.graphs) == ((2, 0.2), [(GRAPH, SIZES)])
    with pytest.raises(WritingEnded, match=f"process {os.getpid()} on .* goes on with this Run"):
        first.commit(batch_of([99]))
    second.commit(batch_of([3]))
    first.close()
    second.close()
    assert open_run(path).steps["step"].tolist() == [0, 1, 2, 3]


def test_a_file_that_is_gone_ends_the_session(tmp_path):
    file = RunFile.begin(tmp_path / "run.undertow", {})
    file.path.unlink()
    with pytest.raises(WritingEnded, match="deleted, moved or replaced"):
        file.commit(batch_of([0]))
    file.close()
    assert not file.path.exists()


def test_the_writer_that_was_here_is_found_where_it_went():
    import undertow.store
    from undertow.watching import RunWriter

    with pytest.warns(DeprecationWarning, match="import it from undertow.watching"):
        assert undertow.store.RunWriter is RunWriter
    with pytest.raises(AttributeError, match="no attribute 'RunWriterr'; it has: Batch"):
        undertow.store.RunWriterr  # noqa: B018
