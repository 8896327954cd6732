"""The list of runs."""

from dataclasses import replace

import httpx
import numpy as np
import pytest

from sample_runs import HOSTILE
from undertow.record import Event, Run
from undertow.report import explain
from undertow.serving.folder import Folder
from undertow.serving.listing import Listing
from undertow.store import open_run, save_run

NAMES = {"first.undertow", "deep/second & third.undertow", f"{HOSTILE.replace('/', '')}.undertow", "broken.undertow"}


def test_every_run_of_the_folder_is_listed_and_nothing_else(get):
    listed = {each["name"]: each for each in get("runs").json()}
    assert listed.keys() == NAMES
    assert listed["first.undertow"]["model"] == "Sequential"
    assert listed["first.undertow"]["step"] == "59"
    assert listed["broken.undertow"]["kind"] == "lost"
    assert "broken.undertow" in listed["broken.undertow"]["trouble"]


def test_the_list_tells_of_numbers_that_were_lost(workshop, small_run):
    folder, address = workshop
    events = [Event(n, 0.0, "nonfinite", f"at step {n}", {"skipped": n == 9}) for n in (7, 9)]
    save_run(replace(small_run, events=tuple(events)), folder / "lost.undertow")
    listed = httpx.get(f"{address}runs", timeout=20).json()
    (folder / "lost.undertow").unlink()
    assert next(each for each in listed if each["name"] == "lost.undertow")["findings"] == ["at step 7"]


def listed(folder, name="run.undertow"):
    listing = Listing(Folder(folder))
    listing.to_list()  # judges it
    return next(each for each in listing.to_list() if each["name"] == name)


def test_findings_are_counted_and_the_worst_named_as_everywhere_else(tmp_path, small_run):
    save_run(small_run, tmp_path / "run.undertow")
    findings = explain(open_run(tmp_path / "run.undertow")).findings
    entry = listed(tmp_path)
    assert entry["severities"]["error"] == sum(each.severity == "error" for each in findings) > 0
    assert entry["worst"]["code"] == findings[0].code
    assert entry["worst"]["began"] == findings[0].began
    assert f"{findings[0].code} {findings[0].name}, {findings[0].span}" in entry["summary"]
    assert entry["summary"] == listed(tmp_path)["summary"]  # the same every time one looks
    assert "diverged" not in entry


def test_findings_are_looked_for_without_keeping_a_page_waiting(tmp_path, small_run):
    save_run(small_run, tmp_path / "run.undertow")
    waiting = []
    listing = Listing(Folder(tmp_path), waiting.append)
    assert "worst" not in listing.to_list()[0]
    assert "worst" not in listing.to_list()[0]
    assert len(waiting) == 1
    waiting[0]()
    assert listing.to_list()[0]["worst"]["severity"] == "error"
    assert len(waiting) == 1  # it hasn't changed since


def test_a_diverged_run_says_so_with_its_last_finite_step_however_long_ago(tmp_path):
    loss = np.full(500, np.nan)
    loss[:12] = np.linspace(3.0, 2.207, 12)
    scalars = {"step": np.arange(500.0), "loss": loss, "nonfinite": np.isnan(loss).astype(float)}
    save_run(Run({"model": "Net"}, (), scalars=scalars), tmp_path / "run.undertow")
    entry = listed(tmp_path)
    assert entry["loss"] == "nan"
    assert entry["diverged"] == {"last_finite_step": 11, "last_finite_loss": pytest.approx(2.207), "last_step": 499}
    assert "the last finite loss was 2.21 at step 11, and training went on to step 499" in entry["summary"]


def test_what_was_measured_seldom_is_told(tmp_path, small_run):
    ended = {"passes": 0, "usual": 1.0, "step": 5000, "steps": 5000}
    few = replace(small_run, header={**small_run.header, "idle passes": ended})
    save_run(few, tmp_path / "run.undertow")
    entry = listed(tmp_path)
    assert entry["measured"].startswith(f"{len(few)} steps of 5,000 were measured in full")
    thinned = at_rows(few, [0, 20, 40])
    save_run(thinned, tmp_path / "thin.undertow")
    assert (
        "3 steps of 5,000 were measured in full; every=10 measures more" in listed(tmp_path, "thin.undertow")["summary"]
    )


def at_rows(run, rows):
    """The run with these full steps only."""
    return replace(
        run,
        columns={name: column[rows] for name, column in run.columns.items()},
        edge_columns={name: column[rows] for name, column in run.edge_columns.items()},
        steps={name: column[rows] for name, column in run.steps.items()},
    )
