import json

import pytest

from sample_models import NET


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
    result = run("check", "net.py:cut_off")
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
