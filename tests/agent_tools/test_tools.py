"""What an agent may ask of a folder: the answers are those of the library, and nothing outside is read."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from undertow.agent_tools import Tools, confined, results
from undertow.agent_tools.background import Background
from undertow.agent_tools.code import examined
from undertow.record import Run
from undertow.remedies import KINDS, prescribe
from undertow.report import explain
from undertow.rules import RULES
from undertow.store import StoreError, open_run, save_run


@pytest.fixture
def folder(tmp_path, runs, vanishing):
    """A folder of runs and a report within another one, which has secrets beside it."""
    inside = tmp_path / "inside"
    shutil.copytree(runs, inside)
    vanishing.save(inside / "report.json")
    (inside / "data.json").write_text("{}")
    (inside / "net.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    (tmp_path / "secret.json").write_text((inside / "report.json").read_text())
    shutil.copy(inside / "first.undertow", tmp_path / "secret.undertow")
    return inside


@pytest.fixture
def tools(folder):
    return Tools(folder)


def seen(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def texts(value):
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


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


OUTSIDE = [
    "../secret{}",
    "deep/../../secret{}",
    "/etc/passwd{}",
    "{root}/../secret{}",
    "..\\secret{}",
    "a\0{}",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_folder(tools, folder, name):
    for ask, suffix in ((tools.explain, ".undertow"), (tools.examine, ".json"), (tools.plan, ".json")):
        with pytest.raises(ValueError, match="leads out of the folder"):
            ask(name.replace("{}", suffix).replace("{root}", str(folder)))


def test_a_name_may_say_that_it_begins_in_the_folder(tools):
    assert tools.explain("./first.undertow").findings == tools.explain("first.undertow").findings
    with pytest.raises(ValueError, match="no file is named: name one in the folder"):
        tools.examine("")


def test_no_link_is_followed(tools, folder):
    os.symlink(folder.parent / "secret.json", folder / "link.json")
    os.symlink(folder.parent / "secret.undertow", folder / "link.undertow")
    os.symlink(folder.parent, folder / "out")
    os.symlink(folder / "report.json", folder / "within.json")
    for name in ("link.json", "out/secret.json", "within.json"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            tools.examine(name)
    for name in ("link.undertow", "out/secret.undertow"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            tools.explain(name)
    listed = tools.runs()
    assert listed.reports == ["report.json"]
    assert not {"link.undertow", "out/secret.undertow"} & {each.name for each in listed.runs}


def test_what_is_hidden_too_large_or_of_another_kind_is_refused(tools, folder, monkeypatch):
    (folder / ".hidden.json").write_text("{}")
    with pytest.raises(ValueError, match="is hidden"):
        tools.examine(".hidden.json")
    with pytest.raises(ValueError, match=r"is no \.json file"):
        tools.examine("notes.txt")
    with pytest.raises(ValueError, match=r"is no \.undertow file"):
        tools.explain("report.json")
    with pytest.raises(StoreError):
        tools.explain("broken.undertow")
    monkeypatch.setitem(confined.MOST_BYTES, ".json", 10)
    with pytest.raises(ValueError, match="of such a file 0 are read at most"):
        tools.examine("report.json")


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


def test_code_that_fails_or_hangs_is_told_and_ended(folder):
    (folder / "bad.py").write_text(
        "import time\ndef fails():\n    raise KeyError('\x1b[31mred')\ndef hangs():\n    time.sleep(99)\n"
    )
    with pytest.raises(ValueError, match=r"bad.py:fails can't be examined: (.|\n)*KeyError") as failed:
        examined(folder, "bad.py:fails")
    assert "\x1b" not in str(failed.value)
    with pytest.raises(ValueError, match=r"was ended after 0\.1 seconds"):
        examined(folder, "bad.py:hangs", seconds=0.1)


def test_answers_are_json_of_bounded_size_whose_texts_act_on_nothing(tools, folder):
    hostile = next(each.name for each in folder.iterdir() if "\x1b" in each.name or each.name.startswith("<"))
    answers = [
        tools.explain(hostile),
        tools.plan("report.json"),
        tools.examine("report.json"),
        tools.runs(),
        tools.rules(),
    ]
    for answer in answers:
        written = json.dumps(dataclasses.asdict(answer), allow_nan=False)
        assert len(written) < 400_000
        assert not any(ord(sign) < 32 and sign not in "\n\t" for text in texts(answer) for sign in text)


def test_many_findings_are_cut_and_counted(tmp_path):
    unreached = [f"layer{n}.weight" for n in range(3)]
    run = Run(
        {"unreached": unreached, "model": "x" * 9_000}, (), scalars={"loss": np.full(3, np.inf), "step": np.arange(3.0)}
    )
    save_run(run, tmp_path / "odd.undertow")
    told = Tools(tmp_path).explain("odd.undertow")
    assert len(told.model) < confined.MOST_SIGNS + 100
    assert told.loss_first is None
    assert len(told.findings) + told.left_out >= 1


def test_a_path_to_the_folder_is_kept_from_who_asks(tools, folder):
    assert tools.hidden(f"can't read {folder}/report.json: \x1b") == "can't read report.json: \\x1b"


def test_work_in_the_background_goes_on_after_one_that_fails():
    done, background = [], Background()
    for work in (lambda: done.append(1), lambda: 1 / 0, lambda: done.append(2)):
        background.submit(work)
    assert background.wait(30)
    assert done == [1, 2]


def test_every_answer_says_what_its_parts_are():
    for kind in vars(results).values():
        if dataclasses.is_dataclass(kind):
            assert all(f"{name}" in kind.__doc__ for name in kind.__dataclass_fields__), kind


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(NotADirectoryError, match="name the one that holds runs and reports"):
        Tools(tmp_path / "nowhere")
