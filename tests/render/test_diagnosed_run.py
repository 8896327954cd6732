import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.run_summary import finding_view
from undertow.render.terminal_run import text


def test_findings_are_told_with_their_steps(small_run):
    found = Finding("UT101", "vanishing", Severity.ERROR, (), "fc", "It fades.", began=12, ended=30)
    assert "From step 12 to step 30: It fades." in text(DiagnosedRun(Diagnosis(small_run, findings=[found])))
    assert (finding_view(found)["began"], finding_view(found)["ended"]) == (12, 30)
    assert 12 in DiagnosedRun(Diagnosis(small_run, findings=[found])).shown_rows


def test_a_long_run_tells_causes_where_findings_began_and_evenly_besides():
    steps = np.arange(0, 50_000, 10, dtype=float)
    run = Run({}, (), steps={"step": steps})
    found = Finding("UT101", "vanishing", Severity.ERROR, (), "fc", "It fades.", began=33_333)
    rows = DiagnosedRun(Diagnosis(run, 17, [found])).shown_rows
    assert len(rows) <= 122
    assert {0, 17, 3_333, 4_999} <= set(rows)
