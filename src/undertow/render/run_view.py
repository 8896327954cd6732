"""Describe a Run as JSON values that a page's scripts draw."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from undertow.formatting import typeset
from undertow.record import SCALARS, Event, Finding
from undertow.render.buckets import packed
from undertow.render.causes import COLOURS
from undertow.render.run_series import RunSeries
from undertow.render.run_summary import NOTHING_YET, findings_view, recorded, standing, unseen

MOST_EVENTS = 200
NOT_SHOWN = frozenset({"unseen", "losses", "watching", "idle passes", "went to", "ended"})
"""Of a header: told elsewhere on the page, or for programs alone."""

MEANT = {"dtypes": "precision", "lr": "learning rate", "overhead": "share of time allowed", "every": "full step every",
         "loss_scale": "loss scale"}  # fmt: skip
"""What a header's names are called on a page."""

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


def run_view(
    series: RunSeries, header: Mapping[str, Any], findings: Sequence[Finding], events: Sequence[Event], judged: bool
) -> dict[str, Any]:
    """Return what a page draws of a run, as JSON values: see `RunSeries.to_dict`, and what is written beside it.

    Args:
        series: the run's numbers.
        header: the run's header.
        findings: the worst first.
        events: the last of them are shown.
        judged: whether the rules have judged the run yet.
    """
    shown = {name: _shown(value) for name, value in {"undertow": version("undertow"), **header}.items()}
    losses = header.get("losses", {})
    return {
        "unseen": unseen(header),
        "losses": dict(losses) if isinstance(losses, Mapping) else {},
        "facts": [typeset(fact) for fact in standing(series, header)],
        "recorded": [typeset(fact) for fact in recorded(series, header)],
        "lost": series.loss_end.to_dict(),
        "meta": [[MEANT.get(name, name), text] for name, text in shown.items() if text and name not in NOT_SHOWN],
        "findings": findings_view(findings),
        "judged": judged,
        "nothing": NOTHING_YET,
        "events": [_event(event) for event in events[-MOST_EVENTS:]],
        "taped": packed(series.taped, "f8"),
        **series.to_dict(),
    }


def names_and_colours() -> dict[str, Any]:
    """Return what scripts call scalars, and how they colour causes."""
    return {"causes": COLOURS, "scalars": {name: TITLES.get(name, name) for name in SCALARS}}


def _event(event: Event) -> dict[str, Any]:
    return {"step": event.step, "kind": event.kind, "message": event.message}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown}" for name, each in value.items() if (shown := _shown(each)))
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
