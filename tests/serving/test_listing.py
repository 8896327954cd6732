"""The list of runs."""

from dataclasses import replace

import httpx

from sample_runs import HOSTILE
from undertow.record import Event
from undertow.store import save_run

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
