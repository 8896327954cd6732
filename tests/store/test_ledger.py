"""No byte of a file changes a Run in silence: it is read as it was written, or there is a warning or an error."""

import contextlib
import shutil
import sqlite3
import warnings

import numpy as np
import pytest

from undertow.record import Edge, Event, Role, Site
from undertow.store import Batch, RunFile, StoreError, open_run
from undertow.store.appender import about_graph

SITES = tuple(Site(i, f"layers.{i}", "addmm", Role.WEIGHT, parameters=(f"layers.{i}.weight",)) for i in range(5))
EDGES = tuple(Edge(i, i + 1) for i in range(4))


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Blocks, fresh rows, two layouts, two sets of parameters, and events."""
    path, rng = tmp_path_factory.mktemp("sums") / "run.undertow", np.random.default_rng(0)
    file = RunFile.begin(path.with_name("growing.undertow"), {"model": "Net"}, journal="rollback")
    for part in range(3):
        batch = Batch()
        for step in range(20 * part, 20 * part + 20):
            by_site = {"grad_output": rng.random(5, np.float32)} | ({"dead": rng.random(5, np.float32)} if part else {})
            edges = {"contribution": rng.random(4, np.float32)}
            batch.taped(about_graph(SITES, EDGES), (5, 4), by_site, edges, {"step": step, "time": step / 10})
            batch.scalars({"step": step, "time": step / 10, "loss": rng.random()})
            names = '["a", "b"]' if part < 2 else '["a", "c"]'
            batch.parameters(names, 2, {"grad_norm": rng.random(2, np.float32)}, step)
        batch.event(Event(part, float(part), "spike", f"the loss rose {part} times", {"rise": part}))
        file.commit(batch)
    shutil.copy(file.path, path)
    file.close()
    return path


def reads(path, before):
    """Return "same", "told" or "refused"; what is left of a file that was told to be damaged is as it was, or nan."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            run = open_run(path)
        except StoreError:
            return "refused"
    if not told:
        assert run == before, "another Run, and nobody says so"
        return "same"
    return "told"


@pytest.mark.parametrize("part", range(4))
def test_no_flipped_bit_changes_a_run_in_silence(intact, tmp_path, part):
    before, content, path = open_run(intact), intact.read_bytes(), tmp_path / "run.undertow"
    rng = np.random.default_rng(part)
    for place in rng.integers(0, len(content), 50).tolist():
        spoiled = bytearray(content)
        spoiled[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        reads(path, before)


CHANGES = {
    "a row of another step": "UPDATE rows SET id = id + 1000 WHERE id = (SELECT max(id) FROM rows)",
    "a row fewer": "DELETE FROM rows WHERE id = (SELECT max(id) FROM rows)",
    "a block of another column": "UPDATE blocks SET place = 1 - place WHERE layout = 1 AND place < 2",
    "a block fewer": "DELETE FROM blocks WHERE id = (SELECT max(id) FROM blocks)",
    "a block elsewhere": "UPDATE blocks SET first = 7 WHERE id = 1",
    "a layout of another graph": "UPDATE layouts SET subject = subject + 1",
    "another column's name": "UPDATE layouts SET columns = replace(columns, 'dead', 'saturated')",
    "a layout fewer": "DELETE FROM layouts WHERE id = (SELECT max(id) FROM layouts)",
    "another layer's name": "UPDATE subjects SET about = replace(about, 'layers.1', 'layers.7')",
    "a graph fewer": "DELETE FROM subjects WHERE id = (SELECT max(id) FROM subjects)",
    "another kind of subject": "UPDATE subjects SET series = 'taped'",
    "an event at another step": "UPDATE events SET step = 12 WHERE id = 1",
    "another message": "UPDATE events SET message = 'all is well' WHERE id = 1",
    "an event fewer": "DELETE FROM events WHERE id = 3",
    "another header": "UPDATE meta SET value = replace(value, 'Net', 'Not') WHERE key = 'header'",
    "other counts": "UPDATE meta SET value = replace(value, '3', '2') WHERE key = 'counts'",
    "no counts": "DELETE FROM meta WHERE key = 'counts'",
}


@pytest.mark.parametrize("what", CHANGES)
def test_no_record_is_changed_moved_or_lost_in_silence(intact, tmp_path, what):
    path = tmp_path / "run.undertow"
    shutil.copy(intact, path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        changed = file.execute(CHANGES[what]).rowcount
        file.commit()
    assert changed > 0
    assert reads(path, open_run(intact)) in ("told", "refused")


def test_a_block_that_would_inflate_beyond_its_rows_is_damage(intact, tmp_path):
    path = tmp_path / "run.undertow"
    shutil.copy(intact, path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE blocks SET rows = 65536")
        file.commit()
    assert reads(path, open_run(intact)) == "told"


def test_writing_goes_on_in_no_file_that_is_damaged(intact, tmp_path):
    path = tmp_path / "run.undertow"
    shutil.copy(intact, path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute(CHANGES["another column's name"])
        file.commit()
    file = RunFile.begin(path, {}, resume=True)
    file.close()
    assert "can't be gone on with" in file.note
    assert file.path.name == "run-2.undertow"
