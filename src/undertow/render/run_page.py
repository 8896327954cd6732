"""Pages of runs: one run saved as a file, and the pages that `undertow serve` keeps up to date.

The data on a page is plain values for JSON in one inert element; scripts in ``templates/run`` draw them. Every
name that comes from a run is put on the page as text.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from markupsafe import Markup

from undertow.record import SCALARS, Event, Finding, Run
from undertow.render import gradient_charts
from undertow.render.buckets import packed
from undertow.render.page import environment, inert, policy, source
from undertow.render.run_series import Course, steps_of
from undertow.render.step_view import moment
from undertow.render.summary import NOTHING_YET, facts, told

DRAWING = ("explore/numbers", "explore/drawing", "run/series", "run/plots", "run/common")
BOARD = (*DRAWING, "run/board", "run/causes")

MOST_MOMENTS = 120
"""Steps of a saved page at which causes are told."""

MOST_EVENTS = 200
TITLES = {
    "grad_norm": "gradient norm",
    "grad_norm_unclipped": "gradient norm before clipping",
    "lr": "learning rate",
    "nonfinite": "non-finite gradients",
    "scale": "loss scale",
    "skipped": "skipped steps",
    "backwards": "backward passes",
    "step_seconds": "seconds a step",
    "cost_seconds": "seconds a step that undertow took",
}


def saved(run: Run, findings: Sequence[Finding], title: str, row: int = -1) -> str:
    """One self-contained page of a whole run; causes are told at up to 120 of its taped steps.

    Args:
        run: what was measured.
        findings: the worst first.
        title: what the page is called.
        row: the place, among the taped steps, of the one that is shown first.

    Example:
        >>> saved(Run({"model": "Net"}, ()), [], "a <b> run").count("a &lt;b&gt; run")
        2
    """
    course = Course(run)
    rows = told_rows(run, findings, row)
    given = {
        "view": view(course, run.header, findings, run.events, judged=True),
        "moments": [moment(run, each) for each in rows],
        "start": rows.index(range(len(run))[row]) if rows else 0,
        **words(),
    }
    return rendered("run/run.html", title, given, (*BOARD, "run/saved"))


def rendered(template: str, title: str, given: Mapping[str, Any], scripts: Sequence[str], live: bool = False) -> str:
    """A page from its template, the data on it and the names of its scripts; ``live`` ones may ask their server."""
    together = "\n".join(source(f"{name}.js") for name in scripts)
    script = f'"use strict";\n(() => {{\n{together}}})();\n'
    return (
        environment()
        .get_template(template)
        .render(
            title=title,
            given=given,
            live=live,
            inert=inert,
            css=Markup(source("page.css") + source("run/run.css")),  # noqa: S704  our own files
            script=Markup(script),  # noqa: S704  our own files
            policy=policy([script], live),
        )
    )


def view(
    course: Course, header: Mapping[str, Any], findings: Sequence[Finding], events: Sequence[Event], judged: bool
) -> dict[str, Any]:
    """What a page draws of a run, as JSON values: see `Course.to_dict`, and what is said beside it."""
    return {
        "facts": facts(course, header),
        "meta": [
            [name, said]
            for name, value in {"undertow": version("undertow"), **header}.items()
            if (said := _said(value))
        ],
        "findings": [told(finding) for finding in findings],
        "judged": judged,
        "nothing": NOTHING_YET,
        "events": [_event(event) for event in events[-MOST_EVENTS:]],
        "taped": packed(course.taped, "f8"),
        **course.to_dict(),
    }


def told_rows(run: Run, findings: Sequence[Finding], row: int = -1) -> list[int]:
    """Taped steps to tell of on a saved page: ``row``, where findings began, and others evenly from first to last."""
    if not len(run):
        return []
    steps = steps_of(run)
    even = np.linspace(0, len(run) - 1, min(len(run), MOST_MOMENTS)).round().astype(int)
    began = [each.began for each in findings if each.began is not None]
    nearest = [int(np.argmin(abs(steps - step))) for step in began[:MOST_MOMENTS]]
    return sorted({range(len(run))[row], *even.tolist(), *nearest})


def _event(event: Event) -> dict[str, Any]:
    return {"step": event.step, "kind": event.kind, "message": event.message}


def words() -> dict[str, Any]:
    """What scripts call things, and how they colour causes."""
    return {"causes": gradient_charts.COLOURS, "scalars": {name: TITLES.get(name, name) for name in SCALARS}}


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said}" for name, each in value.items() if (said := _said(each)))
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
