from dataclasses import replace

import pytest

from undertow.record import Finding, Severity
from undertow.rules.run_outcome import FRESH, with_outcomes

STANDING = {"start": 2.31, "best": 2.3, "steps": 300.0, "chance": 2.303}


def found(code, follows_from="", **more):
    return Finding(code, code, Severity.ERROR, (), "", "Its own.", advice="Do it.", follows_from=follows_from, **more)


def told(*findings):
    return with_outcomes(findings)[0]


def test_a_cause_begins_with_what_became_of_the_loss():
    first = told(found("UT301"), found("UT704", "UT301", evidence=STANDING))
    assert first.message.startswith("The loss has not fallen in 300 steps (")
    assert "guessing scores 2.3)" in first.message
    assert first.message.endswith("Its own.")


def test_a_loss_that_came_down_to_chance_has_learned_nothing_and_is_not_said_to_stand():
    first = told(found("UT301"), found("UT704", "UT301", evidence={**STANDING, "start": 9.0}))
    assert first.message.startswith("Nothing has been learned in 300 steps")


@pytest.mark.parametrize(("code", "again"), [("UT301", True), ("UT202", True), ("UT408", False), ("UT504", False)])
def test_weights_that_began_wrong_are_started_anew(code, again):
    first = told(found(code), found("UT704", code, evidence=STANDING))
    assert first.advice == (f"Do it. {FRESH}" if again else "Do it.")


def test_broken_weights_are_started_anew_but_not_those_that_a_scaler_kept():
    broken = found("UT103", "UT401", began=6)
    assert told(found("UT401"), broken).advice.endswith(FRESH)
    short = replace(found("UT401"), name="update too small")
    assert told(found("UT408"), replace(short, follows_from="UT408")).advice == "Do it."
    kept = found("UT702", evidence={"skipped": 1.0})
    assert told(kept, replace(broken, follows_from="UT702")).advice == "Do it."


def test_what_says_so_itself_or_is_over_stays_as_it_is():
    again = replace(found("UT108"), advice="From fresh weights, with less.", starts_again=True)
    over = found("UT401", began=0, ended=5)
    for each in (again, over, replace(found("UT401"), severity=Severity.NOTE), found("UT407")):
        assert told(each) == each
