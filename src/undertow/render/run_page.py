"""Render a Run as one self-contained page."""

from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.run_view import names_and_colours, run_view
from undertow.render.step_view import step_view
from undertow.render.templating import BOARD, filled


def html(diagnosed: DiagnosedRun, title: str) -> str:
    """Return the page of a whole run; causes are shown at up to 120 of its full steps.

    Args:
        diagnosed: the run, its findings, and the step that is shown first.
        title: what the page is called.

    Example:
        >>> from undertow.diagnosis import Diagnosis
        >>> from undertow.record import Run
        >>> html(DiagnosedRun(Diagnosis(Run({"model": "Net"}, ()))), "a <b> run").count("a &lt;b&gt; run")
        2
    """
    run, rows = diagnosed.run, diagnosed.shown_rows
    given = {
        "view": run_view(diagnosed.series, run.header, diagnosed.chosen.findings, run.events, judged=True),
        "stepViews": [step_view(diagnosed.at(row)) for row in rows],
        "start": rows.index(diagnosed.row) if rows else 0,
        **names_and_colours(),
    }
    return filled("run/run.html", title, given, (*BOARD, "run/saved"))
