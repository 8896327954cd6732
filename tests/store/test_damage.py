"""A file that somebody, or something, has changed: it opens, with what is left of it, or there is one clear error."""

import contextlib
import shutil
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.record import Edge, Role, Site
from undertow.store import RunReader, StoreError, open_run
from undertow.watching import RunWriter

SITES = tuple(Site(i, f"layers.{i}", "addmm", Role.WEIGHT, parameters=(f"layers.{i}.weight",)) for i in range(60))
EDGES = tuple(Edge(i, i + 1) for i in range(59))
ROWS = 900  # blocks and fresh rows


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path, rng = tmp_path_factory.mktemp("intact") / "run.undertow", np.random.default_rng(0)
    with RunWriter(path.with_name("growing.undertow"), {"model": "Net"}, journal="rollback") as writer:
        graph = writer.graph(SITES, EDGES)
        for step in range(ROWS):
            rows = {name: rng.random(60, np.float32) for name in ("grad_output", "weight_norm")}
            writer.taped(
                step, step / 10, graph, rows, {"contribution": rng.random(59, np.float32)}, {"loss": 1 / (1 + step)}
            )
            writer.parameters(step, ["a", "b"], {"grad_norm": rng.random(2, np.float32)})
            writer.scalars(step, step / 10, {"loss": 1 / (1 + step)})
            if step % 100 == 99:
                writer.flush()
        writer.event(5, 0.5, "nonfinite", "the gradient became inf", {"sites": [1, 2]})
        assert writer.flush()
        shutil.copy(writer.path, path)
    return path


def everything(path):
    """As every reader reads: at once, in parts, and all there is in it."""
    with RunReader(path) as reader:
        reader.tail(reader.refresh())
        reader.tail(None)
    run = open_run(path)
    for group in (run.columns, run.edge_columns, run.parameter_columns):
        dict(group)
    return run


def same_where_known(run, intact):
    if len(run) == len(intact) and run.sites == intact.sites:
        for name in run.columns.keys() & intact.columns.keys():
            known = ~np.isnan(run.columns[name])
            assert np.array_equal(run.columns[name][known], intact.columns[name][known]), "numbers that nobody wrote"


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_flipped_bytes(intact, tmp_path_factory, data):
    content = bytearray(intact.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 8191))
        new = data.draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(new)] = new
    spoiled(intact, tmp_path_factory.mktemp("flipped") / "run.undertow", bytes(content))


@given(st.floats(0, 1, exclude_max=True), st.binary(max_size=100))
@settings(max_examples=25, deadline=None)
def test_cut_short(intact, tmp_path_factory, share, instead):
    content = intact.read_bytes()
    spoiled(intact, tmp_path_factory.mktemp("cut") / "run.undertow", content[: int(share * len(content))] + instead)


def spoiled(intact, path, content):
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(StoreError):
            same_where_known(everything(path), open_run(intact))
        with RunWriter(path, {}, resume=True) as writer:  # and training isn't stopped by it
            assert writer.scalars(ROWS, 0.0, {"loss": 0.0})
            writer.flush()
    shutil.rmtree(path.parent)


def test_a_block_that_is_damaged_costs_its_own_rows_only(intact, tmp_path):
    before = open_run(intact)
    plane = before.columns["grad_output"][:40, 0].copy().view(np.uint8)[1::4].tobytes()  # bytes that don't deflate
    content, at = bytearray(intact.read_bytes()), intact.read_bytes().find(plane)
    assert at > 0
    content[at] ^= 1
    path = tmp_path / "run.undertow"
    path.write_bytes(bytes(content))
    with pytest.warns(RuntimeWarning, match="1 of its parts can't be read: nan stands where they were"):
        run = open_run(path)
    lost = np.isnan(run.columns["grad_output"])
    assert lost.all(axis=1).any()
    assert not lost.all()
    assert np.array_equal(run.columns["weight_norm"], before.columns["weight_norm"])
    assert run.scalars["loss"].tolist() == before.scalars["loss"].tolist()


@pytest.mark.parametrize("word", [b'"edges": [', b'["columns", "grad_output"', b'{"model": "Net"}'])
def test_a_word_that_is_damaged(intact, tmp_path, word):
    content = intact.read_bytes()
    assert word in content
    path = tmp_path / "run" / "run.undertow"
    path.parent.mkdir()
    path.write_bytes(content.replace(word, b"\0" + word[1:]))
    with pytest.raises(StoreError, match="damaged"):
        open_run(path)
    spoiled(intact, path, path.read_bytes())


def test_an_event_that_is_damaged_costs_itself_only(intact, tmp_path):
    path, before = tmp_path / "run.undertow", open_run(intact)
    path.write_bytes(intact.read_bytes().replace(b'"sites": [1, 2]', b'"sites": [1, 3]'))
    with pytest.warns(RuntimeWarning, match="1 of its parts can't be read"):
        run = open_run(path)
    assert run.events == tuple(event for event in before.events if event.kind != "nonfinite")
    assert run.scalars["loss"].tolist() == before.scalars["loss"].tolist()
