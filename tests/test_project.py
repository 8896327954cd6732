"""Files that say the same thing say it alike: versions, Pythons, torch, and the options that the action uses."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import typer

from undertow.cli import app

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
USING_ACTIONS = [*sorted(ROOT.glob(".github/workflows/*.yml")), ROOT / "action.yml"]


def read(name):
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_the_citation_has_the_version_and_the_licence():
    citation = read("CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_every_python_is_tested_with_the_oldest_and_the_newest_torch():
    matrix = read(".github/workflows/ci.yml")["jobs"]["core"]["strategy"]["matrix"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert matrix["python"] == promised
    assert PROJECT["requires-python"] == f">={promised[0]}"
    oldest = {each["python"]: each["requirement"] for each in matrix["include"] if each["torch"] == "oldest"}
    assert set(oldest) == set(promised)
    (needed,) = (each for each in PROJECT["dependencies"] if each.startswith("torch"))
    assert oldest[promised[0]].startswith(needed.replace(">=", "=="))


def test_the_action_calls_check_with_options_that_it_has():
    script = "\n".join(str(step.get("run", "")) for step in read("action.yml")["runs"]["steps"])
    command = typer.main.get_command(app).commands["check"]
    known = {name for each in command.params for name in each.opts}
    assert set(re.findall(r"--[a-z-]+", script)) - {"--quiet"} <= known
    assert "${{" not in script  # inputs reach a script as variables only


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.yml")), ids=lambda path: path.name)
def test_workflows_and_templates_are_yaml_and_grant_no_more_than_they_need(path):
    told = yaml.safe_load(path.read_text("utf-8"))
    assert told
    if path.parent.name == "workflows":
        assert told["permissions"] == {"contents": "read"}


def steps(path):
    told = yaml.safe_load(path.read_text("utf-8"))
    return [step for job in told.get("jobs", {"action": told.get("runs")}).values() for step in job["steps"]]


@pytest.mark.parametrize("path", USING_ACTIONS, ids=lambda path: path.name)
def test_actions_of_others_are_pinned_to_a_commit_and_name_its_version(path):
    pinned = re.findall(r"uses: [\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", path.read_text("utf-8"), re.MULTILINE)
    assert len(pinned) == sum("uses" in step for step in steps(path)) > 0


def test_one_action_has_one_commit_in_all_workflows():
    named = {step["uses"] for path in USING_ACTIONS for step in steps(path) if "uses" in step}
    assert len(named) == len({each.split("@")[0] for each in named})


def test_the_address_of_the_project_stands_in_one_place_only():
    owner = PROJECT["urls"]["Repository"].split("/")[-2]
    files = [path for suffix in ("md", "py", "yml", "toml", "html", "js") for path in ROOT.glob(f"*.{suffix}")]
    files += [path for folder in ("docs", "src", "examples", ".github") for path in (ROOT / folder).rglob("*.*")]
    named = {path.name for path in files if path.is_file() and owner.encode() in path.read_bytes()}
    assert named == {"pyproject.toml"}


SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in ROOT.glob("src/undertow/**/*.py")}

OF_EVERY_TRAINER = {"UndertowCallback"}
"""One public name for the callback of whatever trainer."""


def test_a_class_name_means_one_class():
    names = Counter(name for text in SOURCES.values() for name in re.findall(r"^class (\w+)", text, re.MULTILINE))
    assert {name for name, times in names.items() if times > 1} == OF_EVERY_TRAINER


def test_docstrings_begin_with_no_half_sentence():
    opening = re.compile(r'(?:\A|:\n) *"""(?:Of|Whom|What|The same) .*')
    assert {file: found[0] for file, text in SOURCES.items() if (found := opening.search(text))} == {}
