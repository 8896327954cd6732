import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.terminal_run import text


def test_no_control_character_of_a_name_reaches_the_terminal(small_run):
    run = Run.from_dict(small_run.to_dict())
    run.header["model"] = "\x1b]0;owned\x07[bold]net[/bold]\r"
    printed = text(DiagnosedRun(Diagnosis(run)), name="\x1b[31mname")
    assert not set(printed) & set("\x1b\x07\r")
    assert "[bold]net[/bold]" in printed


def test_a_run_without_a_step_is_not_said_to_be_healthy():
    printed = text(DiagnosedRun(Diagnosis(Run({"model": "Net"}, ()))), name="first")
    assert "nothing wrong" not in printed.lower()
    assert "No step was recorded: there is nothing to judge yet." in printed
    assert "NOTHING WRONG WAS FOUND" in text(DiagnosedRun(Diagnosis(Run({}, (), scalars={"loss": np.ones(1)}))))


def test_the_cause_stands_before_what_was_recorded_and_a_lost_loss_ends_in_nan():
    fault = Finding("UT401", "update too large", Severity.ERROR, (), "fc", "A step is too long.", began=1.0)
    run = Run(
        {"model": "Net", "parameters": 12}, (), scalars={"loss": np.array([2.0, 3.0, np.inf]), "step": np.arange(3.0)}
    )
    printed = text(DiagnosedRun(Diagnosis(run, 0, [fault])), name="lost")
    assert printed.index("diverged") < printed.index("A step is too long.") < printed.index("12 parameters")
    assert "2.00 -> 3.00 -> nan" in printed


def test_usual_values_stand_beside_measured_ones(small_run):
    printed = text(DiagnosedRun(Diagnosis(small_run)))
    assert "learning speed" in printed
    assert "usual learning speed: layers within a factor of 100 of each other" in printed
