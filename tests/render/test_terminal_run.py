import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Run
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
