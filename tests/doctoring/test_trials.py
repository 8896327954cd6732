"""Trials of arms that break, and of several trainings in one store."""

from doctoring.lines import QUICK, lines
from undertow.doctoring import doctor
from undertow.doctoring.trials import Cut, Trials
from undertow.remedies import Remedy


def test_trials_of_an_arm_that_breaks_are_told_and_the_others_go_on(tmp_path):
    with Trials(lines(), tmp_path / "trials.sweep", 0) as trials:
        cuts = [Cut((), 0, 10), Cut((Remedy("UR302"),), 0, 10), Cut((Remedy("UR101", {"factor": 2.0}),), 0, 10)]
        made = trials.make(cuts)
    assert [made[cut].trial is None for cut in cuts] == [False, True, False]
    assert "no hidden layer" in made[cuts[1]].error


def test_trials_of_another_training_in_the_same_store_are_not_taken_for_its_own(tmp_path):
    kept = {"store": tmp_path / "kept.sweep", **QUICK}
    assert doctor(lines(1e-6), **kept).verdict == "repaired"
    assert doctor(lines(0.1), **kept).verdict == "healthy"
