"""Experiments side by side: what they find, in any number of processes; what fails, and who is killed."""

import numpy as np
import pytest
from rich.console import Console

from sample_experiments import dying, failing, product
from undertow.lab.idxfile import FILES, encode
from undertow.studies.experiments import Task, run_all


@pytest.fixture
def run(tmp_path):
    """A function that runs tasks on sixty images of four pixels, which a process reads at once."""
    labels = np.arange(60, dtype=np.uint8) % 10
    for name, values in zip(FILES, 2 * [np.tile(labels[:, None, None], (1, 2, 2)), labels], strict=True):
        (tmp_path / name).write_bytes(encode(values))
    return lambda *tasks, processes=1: run_all(tasks, str(tmp_path), Console(quiet=True), processes)


def test_every_task_is_found_under_its_name_whatever_the_number_of_processes(run):
    tasks = [Task(f"task {n}", product, 1, {"n": n}) for n in range(3)]
    one, two = run(*tasks, processes=0), run(*tasks, processes=2)
    assert set(one) == set(two) == {"task 0", "task 1", "task 2"}
    for name, found in one.items():
        assert (found["drawn"] == two[name]["drawn"]).all()
        assert (found["classes"], found["threads"], f"task {found['n']}") == (10, 1, name)


def test_an_experiment_that_fails_ends_them_all_and_is_named(run):
    with pytest.raises(RuntimeError, match="'second' failed: ZeroDivisionError: no such number") as raised:
        run(Task("first", product, 1, {"n": 1}), Task("second", failing, 1), processes=0)
    assert "in failing" in "".join(raised.value.__notes__)


def test_an_experiment_that_kills_its_process_is_given_up_with_a_hint(run):
    with pytest.raises(RuntimeError, match=r"killed by signal 9 .the usual reason is memory") as raised:
        run(Task("only", dying, 1))
    assert "ask for fewer members" in "".join(raised.value.__notes__)
