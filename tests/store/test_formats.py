"""Files of other formats: older ones open, newer ones are refused with a sentence that helps."""

import contextlib
import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import undertow
from undertow.record import Run
from undertow.store import Batch, RunFile, StoreError, open_run, save_run
from undertow.store.database import FORMAT

FORMAT_1 = Path(__file__).parents[1] / "data" / "format1.undertow.gz"


@pytest.fixture
def old(tmp_path):
    """A watched training of 30 steps, written before loops, tables and likeness were noted."""
    path = tmp_path / "old.undertow"
    path.write_bytes(gzip.decompress(FORMAT_1.read_bytes()))
    return path


def version(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        return file.execute("PRAGMA user_version").fetchone()[0]


def test_a_file_of_the_first_format_opens_and_is_judged(old):
    run = open_run(old)
    assert version(old) == 1
    assert [site.op for site in run.sites].count("addmm") == 3
    assert len(run.scalars["loss"]) >= 4
    assert np.isfinite(run.columns["grad_output"]).all()
    assert "input_cosine" not in run.columns
    assert undertow.explain(run).findings is not None


def test_an_old_file_saved_anew_has_the_new_format(old, tmp_path):
    run = open_run(old)
    save_run(run, tmp_path / "new.undertow")
    assert version(tmp_path / "new.undertow") == FORMAT > 1
    assert open_run(tmp_path / "new.undertow") == run


def test_an_old_file_is_gone_on_with_and_counted_from_there(old):
    before = open_run(old)
    file = RunFile.begin(old, {}, resume=True, journal="rollback")
    batch = Batch()
    batch.scalars({"step": 1000, "time": 99.0, "loss": 0.5})
    file.commit(batch)
    file.close()
    run = open_run(old)
    assert file.path == old
    assert version(old) == FORMAT
    assert run.scalars["loss"].tolist() == [*before.scalars["loss"].tolist(), 0.5]
    assert run.sites == before.sites
    assert [event.kind for event in run.events] == [*(event.kind for event in before.events), "session"]
    with contextlib.closing(sqlite3.connect(old)) as changed:  # what is lost from now on is noticed in it, too
        changed.execute("DELETE FROM blocks WHERE id = (SELECT max(id) FROM blocks)")
        changed.commit()
    with pytest.warns(RuntimeWarning, match="rows that are missing"):
        open_run(old)


def test_a_file_of_a_later_format_is_refused_by_name(tmp_path):
    path = tmp_path / "later.undertow"
    save_run(Run({"model": "M"}, ()), path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(
        StoreError, match=f"newer undertow .format {FORMAT + 1}; this one reads up to {FORMAT}.: upgrade"
    ):
        open_run(path)
