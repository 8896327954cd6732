"""What an agent may ask of a folder: the answers are those of the library, and nothing outside is read."""

import pytest

from undertow.agent_tools import Tools
from undertow.remedies import KINDS, prescribe
from undertow.report import explain
from undertow.rules import RULES
from undertow.store import open_run


def seen(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_is_explained_as_the_library_does(tools, folder):
    told, known = tools.explain("first.undertow"), explain(open_run(folder / "first.undertow"))
    assert [(each.code, each.message) for each in told.findings] == [(f.code, f.message) for f in known.findings]
    assert [each.gain for each in told.gains] == [float(gain.gain) for gain in known.gains]
    assert (told.step, told.full_steps, told.left_out) == (known.step, len(known.run), 0)
    assert told.loss_first == known.run.scalars["loss"][0]
    assert tools.explain("first.undertow", 0).step == 0


def test_a_saved_report_is_examined_and_planned_for_without_running_anything(tools, folder, vanishing):
    before = seen(folder)
    told = tools.examine("report.json")
    assert [each.code for each in told.findings] == [each.code for each in vanishing.findings]
    assert told.findings[0].snippet == vanishing.findings[0].snippet
    plan = tools.plan("report.json")
    assert [each.code for each in plan.remedies] == [each.code for each in prescribe(vanishing)][: len(plan.remedies)]
    assert all(each.level in "ABCD" for each in plan.remedies)
    assert seen(folder) == before


def test_a_run_can_be_planned_for(tools, folder):
    known = prescribe(explain(open_run(folder / "first.undertow")).diagnosis)
    assert [each.code for each in tools.plan("first.undertow").remedies] == [each.code for each in known]


def test_runs_and_reports_are_listed_with_their_findings(tools):
    listed = tools.runs()
    by_name = {each.name: each for each in listed.runs}
    assert {"first.undertow", "deep/second & third.undertow", "broken.undertow"} <= set(by_name)
    worst = tools.explain("first.undertow").findings[0]
    assert worst.code in by_name["first.undertow"].summary
    assert sum(by_name["first.undertow"].findings.values()) == len(tools.explain("first.undertow").findings)
    assert by_name["broken.undertow"].message != ""
    assert listed.reports == ["report.json"]


def test_rules_and_remedies_are_listed_and_explained(tools):
    assert [each.code for each in tools.rules().listed] == sorted(RULES)
    assert [each.code for each in tools.remedies().listed] == sorted(KINDS)
    (rule,) = tools.rules("ut101").listed
    assert "What to do" in rule.sections
    (cure,) = tools.remedies("UR101").listed
    assert "What it changes" in cure.sections
    for ask in (tools.rules, tools.remedies):
        with pytest.raises(LookupError, match=r"there is no r\w+ 'UT999'"):
            ask("UT999")


def test_code_is_not_run_unless_it_is_allowed(tools, folder):
    with pytest.raises(PermissionError, match="start it with --allow-code, or save a report by `undertow examine"):
        tools.examine("net.py:build")
    with pytest.raises(PermissionError, match="--allow-code"):
        tools.plan("net.py:build")
    assert not (folder / "ran").exists()


def test_code_outside_is_not_run_though_code_is_allowed(folder):
    tools = Tools(folder, allow_code=True)
    (folder.parent / "other.py").write_text("raise SystemExit('it ran')")
    for target in ("../other.py:build", f"{folder.parent}/other.py:build"):
        with pytest.raises(ValueError, match="leads out of the folder"):
            tools.examine(target)
    with pytest.raises(FileNotFoundError):
        tools.examine("no_such.py:build")
    with pytest.raises(ValueError, match="names no function"):
        tools.examine("net.py")


def test_a_path_to_the_folder_is_kept_from_who_asks(tools, folder):
    assert tools.hidden(f"can't read {folder}/report.json: \x1b") == "can't read report.json: \\x1b"


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="name the one that holds runs and reports"):
        Tools(tmp_path / "nowhere")
