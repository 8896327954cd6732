import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Run
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.run_page import html


def test_a_run_without_any_taped_step_has_a_page():
    run = Run({"model": "Compiled"}, (), scalars={"step": np.arange(3.0), "loss": np.array([3.0, 2.0, 1.0])})
    assert "Compiled" in html(DiagnosedRun(Diagnosis(run)), "compiled")
    assert "compiled" in html(DiagnosedRun(Diagnosis(Run({}, ()))), "compiled")
