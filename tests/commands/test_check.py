import json
import re
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from commands.starting import started
from sample_models import NET
from undertow.record import Finding

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize(
    ("function", "least", "code"),
    [
        ("build", "warning", 1),
        ("build", "error", 1),
        ("cut_off", "error", 1),
        ("unused", "note", 1),
        ("unused", "warning", 0),
        ("better", "note", 0),
    ],
)
def test_check_fails_from_a_severity_on(project, run, function, least, code):
    project("net.py", NET)
    assert run("check", f"net.py:{function}", "--fail-on", least).exit_code == code


def test_check_reads_a_saved_report(project, run):
    project("net.py", NET)
    run("examine", "net.py:build", "--out", "saved.json")
    result = run("check", "saved.json")
    assert result.exit_code == 1
    assert "UT101 error" in result.output


def check(run, *words):
    return run("check", "net.py:build", *words)


def test_check_says_what_to_type_under_the_verdict(project, run):
    project("net.py", NET)
    lines = check(run).output.splitlines()
    assert re.fullmatch(r"  [A-Z ]+   UT\d\d\d error(, .*)?: it can't learn as it stands", lines[0])
    assert any("UT101 error" in line for line in lines)
    assert any(line.startswith("  more: undertow rule UT") for line in lines)
    assert re.match(r"\d+ findings as severe as warning or more; \d+ below, 0 silenced", lines[-1])
    assert max(map(len, lines)) <= 80


def test_json_says_all_of_every_finding_and_whether_it_fails(project, run):
    project("net.py", NET)
    result = check(run, "--json", "--fail-on", "error")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert told["failed"] is True
    assert check(run, "--format", "json", "--fail-on", "error").stdout == result.stdout
    assert {each["code"] for each in told["findings"] if each["fails"]} == {
        each["code"] for each in told["findings"] if each["severity"] == "error"
    }
    assert Finding.from_dict({k: v for k, v in told["findings"][0].items() if k != "fails"}).severity == "error"


def test_github_shows_findings_beside_the_code(project, run):
    project("net.py", NET)
    first = check(run, "--format", "github").stdout.splitlines()[0]
    assert re.match(r"::error file=net\.py(,line=\d+)?,title=UT\d{3} [a-z ]+::.", first)
    assert "\n" not in first


def test_sarif_is_valid(project, run):
    """By the parts of the standard's schema that hold what we write, with nothing else allowed."""
    project("net.py", NET)
    log = json.loads(check(run, "--format", "sarif").stdout)
    schema = json.loads((DATA / "sarif-2.1.0-parts.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(log, schema)
    (told,) = log["runs"]
    codes = [rule["id"] for rule in told["tool"]["driver"]["rules"]]
    assert [codes[each["ruleIndex"]] for each in told["results"]] == [each["ruleId"] for each in told["results"]]
    assert told["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "net.py"
    for spoilt in ({"version": "2.0"}, {"runs": [{}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**log, **spoilt}, schema)


def test_junit_is_well_formed_also_where_names_are_hostile(project, run):
    project(
        "net.py", NET.replace('{"used"', '{"\\x1b<&]]>\\x00used"').replace('net["used"]', 'net["\\x1b<&]]>\\x00used"]')
    )
    for function, failures in (("build", True), ("better", False), ("cut_off", True)):
        suite = ElementTree.fromstring(run("check", f"net.py:{function}", "--format", "junit").stdout)[0]  # noqa: S314
        assert int(suite.get("tests")) == len(suite.findall("testcase")) > 0
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert bool(suite.findall("testcase/failure")) is failures


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ((), {"UT101", "UT301"}),
        (("--select", "UT3"), {"UT301"}),
        (("--select", "UT1,UT3", "--ignore", "UT301"), {"UT101"}),
        (("--select", "UT101", "--ignore", "UT1"), {"UT101"}),  # the longer beginning counts
        (("--ignore", "ALL"), set()),
    ],
)
def test_rules_are_selected_and_ignored(project, run, words, codes):
    project("net.py", NET)
    result = check(run, "--json", *words)
    found = {each["code"] for each in json.loads(result.stdout)["findings"]}
    assert found & {"UT101", "UT301"} == codes
    assert result.exit_code == bool(found)


def test_a_rule_that_there_is_not_is_refused(project, refusal):
    project("net.py", NET)
    assert "no rule's code begins with UT1011: did you mean UT101?" in refusal(
        "check", "net.py:build", "--select", "UT1011"
    )


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise SystemExit", "raise BaseException('all')"])
@pytest.mark.parametrize("where", ["file", "build", "compute_loss", "optimizer"])
def test_nothing_that_ends_the_users_program_lets_check_pass(project, fails, where, ending):
    there = {each: ending if each == where else "pass" for each in ("file", "build", "compute_loss", "optimizer")}
    project("net.py", ENDING.format(**there))
    assert "undertow: " in fails("check", "net.py:build")


@pytest.mark.parametrize("ending", ["os._exit(0)", "ctypes.CDLL(None).exit(0)"])
def test_not_even_the_end_of_the_process_lets_check_pass(project, ending):
    path = project("net.py", f"import ctypes, os\ndef build():\n    {ending}\n")
    ran = started("check", f"{path}:build")
    assert ran.returncode == 2
    assert "the user's code ended the program (exit code 0) before there was a verdict" in ran.stderr


ENDING = """
    import sys
    import torch

    {file}

    class Ending(torch.optim.SGD):
        def step(self):
            {optimizer}
            return super().step()

    def build():
        {build}
        net, x = torch.nn.Linear(2, 1), torch.ones(3, 2)

        def compute_loss():
            {compute_loss}
            return net(x).sum()

        return net, compute_loss, Ending(net.parameters(), lr=0.1)
"""


def test_what_the_users_code_prints_stays_out_of_what_programs_read(project, run):
    project("net.py", NET.replace("def better():", "def better():\n        print('loading')"))
    result = run("check", "net.py:better", "--json")
    json.loads(result.stdout)
    assert "loading" in result.stderr
