"""What `over_time` says of real training runs: what went wrong, when it began, and nothing of healthy twins."""

import pytest

from rules.trainings import FAULTY, HEALTHY
from undertow.record import Severity


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_get_notes_at_most(found, name):
    assert [(f.code, f.message) for f in found(name).values() if f.severity is not Severity.NOTE] == []


FIRES = {
    "vanishing": {"UT101", "UT104", "UT301"},
    "front still": {"UT104"},
    "back still": {"UT105"},
    "thrown away": {"UT103", "UT405"},
    "dying": {"UT108", "UT202", "UT405"},
    "spike": {"UT405"},
    "odd batch": {"UT405"},
    "infinite": {"UT103"},
    "infinite in the middle": {"UT103"},
    "clipped hard": {"UT403"},
    "large epsilon": {"UT402"},
    "float16 runs dry": {"UT404"},
    "float16 runs dry early": {"UT404"},
    "small in float16": {"UT404"},
    "post-norm": {"UT101", "UT108", "UT406"},
}


@pytest.mark.parametrize("name", FIRES)
def test_faults_are_found(found, name):
    findings = found(name)
    assert FIRES[name] <= set(findings)
    faults = FIRES[name] if name != "spike" else set()  # it came back, and was the only one
    if name == "post-norm":  # UT108 is the error; of starts like what is left then, most learned
        faults = faults - {"UT101"}
    assert all(findings[code].severity is not Severity.NOTE for code in faults)


def test_a_fault_of_the_first_step_is_born_and_another_has_developed(found):
    assert [(f.began, f.from_start) for f in map(found("vanishing").get, ("UT101", "UT104"))] == [(0, True)] * 2
    assert [(f.began, f.from_start) for f in (found("front still")["UT104"], found("back still")["UT105"])] == [
        (50, False),
        (50, False),
    ]


def test_every_fault_that_is_looked_for_has_its_training():
    assert set(FIRES) <= set(FAULTY)
