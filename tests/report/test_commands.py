import json
import sys

import pytest
from typer.testing import CliRunner

from undertow import Report
from undertow.cli import app, main
from undertow.rules import RULES

NET = """
    import torch
    from torch import nn

    def build():
        torch.manual_seed(0)
        net = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(20, 20), nn.Sigmoid())])
        x = torch.randn(50, 20)
        return net, lambda: net(x).square().mean()

    def better():
        torch.manual_seed(0)
        net = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(20, 20), nn.Tanh())])
        for layer in net[::2]:
            nn.init.xavier_normal_(layer.weight)
        x = torch.randn(50, 20)
        return net, lambda: net(x).square().mean(), torch.optim.SGD(net.parameters(), 0.1)

    def unused():
        net = nn.ModuleDict({"used": nn.Linear(3, 3), "left": nn.Linear(3, 3)})
        x = torch.ones(2, 3)
        return net, lambda: (net["used"](x) + net["left"](x).detach()).sum()
"""


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def fails(monkeypatch, capsys):
    """Run the command as the shell does, and hand back what it says on standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["undertow", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2
        return capsys.readouterr().err

    return call


def test_examine_prints_and_writes_and_ends_well(project, run, tmp_path):
    project("net.py", NET)
    result = run("examine", "net.py:build", "--out", "report.json", "--repeats", "2")
    assert result.exit_code == 0
    assert "VANISHING" in result.output
    report = Report.read(tmp_path / "report.json")
    assert report.run.header["repeats"] == 2
    assert report.findings[0].code == "UT101"


def test_examine_prints_json_and_nothing_else(project, run):
    project("net.py", NET)
    data = json.loads(run("examine", "net.py:build", "--json").stdout)
    assert Report.from_dict(data).findings[0].code == "UT101"


def test_an_optimizer_is_taken(project, run):
    project("net.py", NET)
    data = json.loads(run("examine", "net.py:better", "--json").stdout)
    assert data["run"]["header"]["optimizer"] == "SGD"


@pytest.mark.parametrize(
    ("function", "least", "code"),
    [
        ("build", "warning", 1),
        ("build", "error", 1),
        ("unused", "warning", 1),
        ("unused", "error", 0),
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


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        (["UT501"], 0),
        (["UT501:left"], 0),
        (["UT501:left.*"], 0),
        (["UT501:lef"], 1),
        (["UT501:used"], 1),
        (["UT101"], 1),
        ([], 1),
    ],
)
def test_a_project_silences_codes_and_codes_at_modules(project, run, entries, code):
    project("net.py", NET)
    project("pyproject.toml", f"[tool.undertow]\nsilence = {json.dumps(entries)}\n")
    result = run("check", "net.py:unused")
    assert result.exit_code == code
    assert ("1 silenced" in result.output) == (code == 0)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('silence = ["UT1011"]', "no rule UT1011: did you mean UT101?"),
        ('silence = ["UT201:"]', "no module path after its colon"),
        ('silence = "UT201"', "must be a list"),
        ("silence = [3]", "3 is no text"),
        ('silense = ["UT201"]', "no setting silense; there is: silence"),
        ("silence = [", "pyproject.toml"),
    ],
)
def test_what_cant_be_meant_in_pyproject_is_an_error(project, fails, table, why):
    project("net.py", NET)
    project("pyproject.toml", f"[tool.undertow]\n{table}\n")
    said = fails("check", "net.py:unused")
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "content", "why"),
    [
        ("net.py", "", "names no function: write FILE.py:FUNCTION, as in net.py:build"),
        ("gone.py:build", "", "there is no file gone.py"),
        ("net.py:buidl", "def build(): pass", "net.py has no function buidl: did you mean build?"),
        ("net.py:build", "build = 3", "build of net.py is a int, not a function"),
        ("net.py:build", "def build(): return 3", "returned a int: end it with `return model, compute_loss`"),
        ("net.py:build", "def build(): return 1, 2, 3, 4", "returned 4 values"),
        ("net.py:build", "def build(): return 1, 2", "the compute_loss of net.py:build is a int"),
        ("net.py:build", "def build(): return 1, print", "model is a int, not a torch.nn.Module"),
        ("net.py:build", "\nimport nothing_like_it", "net.py, line 2: ModuleNotFoundError: No module named"),
        ("net.py:build", "\n\nx = 1 / 0", "net.py, line 3: ZeroDivisionError: division by zero"),
        ("net.py:build", "def build(:", "net.py, line 1: invalid syntax"),
        ("net.py:build", "import sys\nsys.exit(3)", "net.py, line 2: SystemExit: 3"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(project, fails, target, content, why):
    project("net.py", content)
    said = fails("examine", target)
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("where", ["build", "compute_loss"])
def test_an_error_in_the_users_own_function_shows_their_traceback_only(project, fails, where):
    broken = "raise KeyError('theirs')"
    body = {"build": broken, "compute_loss": "pass"}[where]
    project(
        "net.py",
        f"""
        from torch import nn

        def loss():
            {broken}

        def build():
            {body}
            return nn.Linear(2, 2), loss
        """,
    )
    said = fails("examine", "net.py:build")
    assert "Traceback" in said
    assert "KeyError: 'theirs'" in said
    assert f"{where} failed" in said.replace("build() of net.py", "build")
    assert "undertow/" not in said


def test_diff_says_what_changed_and_why(project, run):
    project("net.py", NET)
    run("examine", "net.py:build", "--out", "before.json")
    run("examine", "net.py:better", "--out", "after.json")
    result = run("diff", "before.json", "after.json")
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines() if line[:2].strip().isdigit()]
    assert [row[0] for row in rows] == ["14", "12", "10", "8", "6", "4", "2"]
    for _, _, before, _, after, decades, cause in rows:
        assert float(after) / float(before) == pytest.approx(10 ** float(decades), rel=0.03)
        assert cause == "activation"
    assert "- UT101 error" in result.output
    assert "+ UT101" not in result.output


def test_a_report_doesnt_differ_from_itself(project, run):
    project("net.py", NET)
    run("examine", "net.py:build", "--out", "one.json")
    output = run("diff", "one.json", "one.json").output
    assert "7 of 7 layers and joins pass on what they did" in output
    assert "  UT101 error" in output


@pytest.mark.parametrize("code", RULES)
def test_every_rule_is_explained_in_words_without_markup(run, code):
    output = run("rule", code.lower()).output
    assert code in output
    assert "What to do" in output
    assert "``" not in output


def test_all_rules_are_listed_and_a_wrong_one_named(run, fails):
    listed = run("rule").output
    assert [line.split()[0] for line in listed.splitlines()] == sorted(RULES)
    assert "did you mean UT101?" in fails("rule", "UT1011")
