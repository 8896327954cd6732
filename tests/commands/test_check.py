import pytest

from sample_models import NET


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
