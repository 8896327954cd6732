"""Two runs or reports side by side: each finding is told once, and a run that diverged says so."""

import numpy as np
import pytest

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.render import difference_page, terminal_difference

FAULT = Finding("UT401", "update too large", Severity.ERROR, (), "fc", "A step is too long.", began=3.0)


def run(*losses: float) -> Run:
    scalars = {"step": np.arange(float(len(losses))), "loss": np.array(losses)}
    return Run({"model": "Net"}, (), scalars=scalars)


FINE = Diagnosis(run(2.0, 1.5, 1.0, 0.5), 0, [])
BROKEN = Diagnosis(run(2.0, 1.5, np.inf, np.nan), 0, [FAULT])


@pytest.mark.parametrize("order", [(FINE, BROKEN), (BROKEN, FINE)])
def test_a_finding_is_told_once(order):
    named = ("a.undertow", order[0]), ("b.undertow", order[1])
    assert terminal_difference.text(*named).count("A step is too long.") == 1
    lead = difference_page.article(*named).lead
    assert "update too large \\(UT401 error\\)" in lead  # Markdown
    assert FAULT.message not in lead


def test_a_run_that_diverged_says_after_which_step():
    text = terminal_difference.text(("a", FINE), ("b", BROKEN))
    (row,) = [line.split() for line in text.splitlines() if line.strip().startswith("diverged")]
    assert row == ["diverged", "no", "after", "1"]
    (figure,) = [block for section in difference_page.article(("a", FINE), ("b", BROKEN)).sections
                 for block in section.blocks if block.__class__.__name__ == "Figure"]  # fmt: skip
    assert figure.title == "The loss comes to 0.5 in a and 1.5 in b, where it diverged"


def test_losses_of_two_reports_are_no_curve():
    one = Diagnosis(run(2.0), 0, [])
    assert all(section.id != "losses" for section in difference_page.article(("a", one), ("b", one)).sections)


@pytest.mark.parametrize(
    ("before", "after", "title"),
    [
        (BROKEN, FINE, "1 finding is gone: UT401"),
        (FINE, BROKEN, "1 new finding: UT401"),
        (FINE, FINE, "No finding came or went"),
    ],
)
def test_the_title_says_what_came_and_went(before, after, title):
    assert difference_page.article(("a", before), ("b", after)).title == title


EMPTY = Diagnosis(Run({}, ()), 0, [])


@pytest.mark.parametrize(("order", "charts"), [((FINE, EMPTY), 1), ((EMPTY, FINE), 1), ((EMPTY, EMPTY), 0)])
def test_one_without_losses_leaves_the_other_s_curve(order, charts):
    page = difference_page.article(("a", order[0]), ("b", order[1]))
    assert sum(section.id == "losses" for section in page.sections) == charts
