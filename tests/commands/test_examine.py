import json

from sample_models import NET
from undertow import Report


def test_examine_prints_and_writes_and_ends_well(project, run, tmp_path):
    project("net.py", NET)
    result = run("examine", "net.py:build", "--out", "report.json", "--repeats", "2")
    assert result.exit_code == 0
    assert "UT101 error" in result.output
    report = Report.read(tmp_path / "report.json")
    assert report.run.header["repeats"] == 2
    assert "UT101" in {finding.code for finding in report.findings}


def test_examine_prints_json_and_nothing_else(project, run):
    project("net.py", NET)
    data = json.loads(run("examine", "net.py:build", "--json").stdout)
    assert "UT101" in {finding.code for finding in Report.from_dict(data).findings}


def test_an_optimizer_is_taken(project, run):
    project("net.py", NET)
    data = json.loads(run("examine", "net.py:better", "--json").stdout)
    assert data["run"]["header"]["optimizer"] == "SGD"
