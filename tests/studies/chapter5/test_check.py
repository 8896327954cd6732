"""What was written is computed again and compared."""

import copy

import pytest
from rich.console import Console

from undertow.files import write_json
from undertow.studies import experiments
from undertow.studies.chapter5 import check


def test_what_was_written_checks(folder):
    found = check(folder, "digits", Console(quiet=True), processes=0)
    assert not [str(each) for each in found if each.holds is False]
    assert sum(each.detail == "2 of 2 members" for each in found) == 4


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda r: r["accuracy"]["2"]["initial_sha256"].__setitem__(1, "0" * 64), "2 hidden layers: initial weights"),
        (lambda r: r["accuracy"]["1"]["validation"][0].__setitem__(-1, 0.2), "1 hidden layer: accuracy of one member"),
    ],
)
def test_what_was_tampered_with_does_not(results, tmp_path, tamper, said):
    changed = copy.deepcopy(results)
    tamper(changed)
    write_json(changed, tmp_path / "results.json")
    [differing] = [each for each in check(tmp_path, "digits", Console(quiet=True), processes=0) if each.holds is False]
    assert str(differing).startswith(f"DIFFERS      {said}")


def test_the_command_exits_with_1_where_something_differs(undertow, results, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "processors", lambda: 1)
    changed = copy.deepcopy(results)
    changed["accuracy"]["3"]["initial_sha256"][0] = "0" * 64
    write_json(changed, tmp_path / "results.json")
    done = undertow("chapter5", "--check", tmp_path, "--data", "digits")
    assert done.returncode == 1
    assert "DIFFERS      3 hidden layers: initial weights (1 of 2 members)" in done.stdout


def test_other_data_than_recorded_are_refused(undertow, folder):
    done = undertow("chapter5", "--check", folder)  # recorded with digits, checked with MNIST
    assert done.returncode == 2
    assert "say which data with --data" in done.stderr
