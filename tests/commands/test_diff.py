import re
from pathlib import Path

import pytest

from sample_models import NET


def test_diff_says_what_changed_and_why(project, run):
    project("net.py", NET)
    run("examine", "net.py:build", "--out", "before.json")
    run("examine", "net.py:better", "--out", "after.json")
    result = run("diff", "before.json", "after.json")
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines() if re.match(r"  \d+ +x ", line)]
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


def test_a_page_of_a_difference_says_the_same(project, run):
    project("net.py", NET)
    run("examine", "net.py:build", "--out", "before.json")
    run("examine", "net.py:better", "--out", "after.json")
    result = run("diff", "before.json", "after.json", "--out", "page.html")
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "wrote page.html"
    page = Path("page.html").read_text()
    assert "UT101" in page.split("</h1>")[0]
    assert page.count("activation</td>") >= 7
