"""`undertow check`, `diff` and `undertow.explain` on Runs."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import undertow
from undertow.cli import app
from undertow.record import Severity
from undertow.rules import over_time


@pytest.fixture
def command():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_check_fails_on_a_run_with_a_fault_and_says_since_when(recorded, command):
    result = command("check", recorded("front still")[1])
    assert result.exit_code == 1
    assert "UT104 error: it can't learn as it stands From step 50: " in " ".join(result.output.split())
    vanishing = command("check", recorded("vanishing")[1]).output
    assert "UT101 error" in vanishing
    assert "from the start (step 0): " in vanishing.lower()


def test_check_passes_a_healthy_run(recorded, command):
    result = command("check", recorded("by heart")[1])
    assert (result.exit_code, result.output.count("\n")) == (0, 1)
    assert "no findings as severe as warning" in result.output
    strict = command("check", recorded("by heart")[1], "--fail-on", "note")
    assert strict.exit_code == 1
    assert "UT601 note" in strict.output


@pytest.mark.parametrize(
    ("entries", "code"), [(["UT104"], 0), (["UT104:0", "UT104:2", "UT104:4"], 1), (["UT104:*"], 0), (["UT101"], 1)]
)
def test_a_project_silences_findings_over_time(recorded, command, entries, code):
    file = recorded("front still")[1]
    table = file.parent / "pyproject.toml"
    table.write_text(f"[tool.undertow]\nsilence = {json.dumps(entries)}\n")
    try:
        assert command("check", file).exit_code == code
    finally:
        table.unlink()


def test_every_graph_of_a_model_that_takes_turns_is_judged(recorded, command, tmp_path):
    run, file = recorded("in turns")
    assert run.header["graphs"] == [30, 15]
    alone = over_time(replace(run, other_graphs=()))
    assert "UT101" not in {finding.code for finding in alone}
    assert all(finding in over_time(run) for finding in alone)
    (vanishing,) = (finding for finding in over_time(run) if finding.code == "UT101")
    assert (vanishing.severity, vanishing.began, vanishing.from_start, vanishing.sites) == (Severity.ERROR, 2, True, ())
    assert "another way than most often, as at step 2" in vanishing.message
    assert "seldom" in vanishing.where
    for words in (["check", file], ["show", file]):
        assert "UT101" in command(*words).output
    assert undertow.explain(run).findings == over_time(run)
    undertow.save_run(run, tmp_path / "again.undertow")
    again = undertow.open_run(tmp_path / "again.undertow")
    assert (again, again.other_graphs) == (run, run.other_graphs)
    assert over_time(again) == over_time(run)


def test_a_way_that_is_seldom_taken_is_not_judged(recorded):
    run, _ = recorded("in turns")
    few = replace(run, header={**run.header, "graphs": [150, 14]})
    assert over_time(few) == over_time(replace(run, other_graphs=()))


def test_the_same_fault_in_the_same_layers_is_told_once(recorded):
    run, _ = recorded("vanishing")
    assert over_time(replace(run, other_graphs=(run,))) == over_time(run)


@pytest.mark.parametrize(("entry", "code"), [("UT101:seldom", 0), ("UT101:often", 1), ("UT101", 0)])
def test_a_project_silences_what_is_found_elsewhere(recorded, command, entry, code):
    file = recorded("in turns")[1]
    table = file.parent / "pyproject.toml"
    others = sorted({each.code for each in over_time(recorded("in turns")[0])} - {"UT101"})
    table.write_text(f"[tool.undertow]\nsilence = {json.dumps([*others, entry])}\n")
    try:
        assert command("check", file).exit_code == code
    finally:
        table.unlink()


def test_check_says_what_is_missing(command, tmp_path):
    with pytest.raises(undertow.store.StoreError, match="there is no Run at"):
        command("check", tmp_path / "gone.undertow")


def test_diff_sets_two_runs_side_by_side(recorded, command):
    output = command("diff", recorded("vanishing")[1], recorded("front still")[1]).output
    assert "- UT101 error: from the start (step 0): " in output
    assert "UT104 error: it can't learn as it stands From step 50: " in " ".join(output.split())
    steps = next(line.split() for line in output.splitlines() if line.strip().startswith("last step"))
    assert steps[-2:] == ["59", "119"]


def test_diff_sets_a_run_beside_a_report(recorded, command, tmp_path):
    run, file = recorded("vanishing")
    saved = undertow.explain(run, step=0).report().save(tmp_path / "report.json")
    assert undertow.Report.read(saved).findings == over_time(run)
    output = command("diff", saved, file).output
    assert "  UT101 error" in output
    assert "- UT" not in output


def test_explain_gives_gains_and_findings(recorded):
    run = recorded("vanishing")[0]
    told = undertow.explain(run)
    assert told.findings == over_time(run)
    assert told.step == 59
    first = undertow.explain(run, step=0)
    assert [gain.gain for gain in first.gains] != [gain.gain for gain in told.gains]
    assert "UT101 error" in str(told)
    with pytest.raises(ValueError, match="step 4,000 was not measured in full: the nearest that was is 59"):
        undertow.explain(run, step=4000)


def test_the_gains_of_a_run_that_was_lost_are_those_of_its_last_finite_step(recorded):
    assert undertow.explain(recorded("infinite in the middle")[0]).step == 36


def test_explaining_needs_no_torch(recorded):
    code = (
        "import sys, undertow; print(undertow.explain(undertow.open_run(sys.argv[1]))); print('torch' in sys.modules)"
    )
    file = str(recorded("vanishing")[1])
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "UT104" in done.stdout
    assert done.stdout.endswith("False\n")
