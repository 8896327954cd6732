"""Describe a Run in words, alike on a page and in a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from undertow.formatting import percent, typeset
from undertow.record import Finding, folded
from undertow.render.run_series import RunSeries

ENOUGH = 30
"""Full steps that say how a run went; of a short one a tenth is enough."""

NOTHING_YET = "No step was recorded: there is nothing to judge yet."


def standing(series: RunSeries, header: Mapping[str, Any]) -> list[str]:
    """Return in a few words what is trained and how far it is: what stands above the findings."""
    known = [str(header.get("model", "model"))]
    if "step" in series.latest:
        known.append(f"step {series.latest['step']:,.0f}")
    if series.loss_end.lost:
        known.append(series.loss_end.sentence)
    elif "loss" in series.latest:
        first = f", {series.began['loss']:.4g} at first" if series.began.get("loss") is not None else ""
        known.append(f"loss {series.latest['loss']:.4g}{first}")
    return known


def recorded(series: RunSeries, header: Mapping[str, Any]) -> list[str]:
    """Return how much was trained and measured, and what that cost: what stands below the findings."""
    known = [f"{header['parameters']:,} parameters"] if header.get("parameters") else []
    if "time" in series.latest:
        known.append(f"trained for {duration(series.latest['time'])}")
    steps = max(steps_made(header), series.noted, int(series.latest.get("step", -1)) + 1)
    return [*known, measured_in_full(len(series.taped), steps), *_cost(header)]


def unseen(header: Mapping[str, Any]) -> list[str]:
    """Return what of a training could not be seen, and the way to see it, a sentence each; empty if all was.

    Example:
        >>> unseen({"unseen": {"compiled": "The model is compiled."}})
        ['The model is compiled.']
    """
    told = header.get("unseen", {})
    return [str(sentence) for sentence in told.values()] if isinstance(told, Mapping) else []


def steps_made(header: Mapping[str, Any]) -> int:
    """Return the steps of a run that has ended; 0 where nobody counted, or where it goes on.

    Example:
        >>> steps_made({"idle passes": {"step": 200}}), steps_made({})
        (200, 0)
    """
    told = header.get("idle passes")
    step = told.get("step") if isinstance(told, Mapping) else None
    return step if isinstance(step, int) and step > 0 else 0


def _cost(header: Mapping[str, Any]) -> list[str]:
    told = header.get("watching")
    share = told.get("measured") if isinstance(told, Mapping) else None
    return [f"watching took {percent(share, 1)} of the time"] if isinstance(share, float) else []


def measured_in_full(full: int, steps: int) -> str:
    """Say how many steps were measured in full, and what measures more where that is few.

    Example:
        >>> measured_in_full(3, 200), measured_in_full(40, 200)
        ('3 steps of 200 were measured in full; every=10 measures more', '40 steps of 200 were measured in full')
    """
    count = f"{full:,} step{'' if full == 1 else 's'} of {steps:,} {'was' if full == 1 else 'were'} measured in full"
    return f"{count}; every=10 measures more" if full < min(ENOUGH, steps / 10) else count


LONGEST = 1e10
"""Seconds: three hundred years."""


def duration(seconds: float) -> str:
    """Write a time for people.

    Example:
        >>> duration(3.2), duration(200), duration(7_260)
        ('3.2 s', '3 min 20 s', '2 h 1 min')
    """
    if not 0 <= seconds < LONGEST:
        return "no time that can be"
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = int(seconds) // 60
    return f"{minutes} min {int(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def findings_view(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values for a page; one that another explains stands after it and names its code.

    Example:
        >>> from undertow.record import Severity
        >>> cause = Finding("UT401", "update too large", Severity.ERROR, (), "", "")
        >>> late = Finding("UT202", "dead units", Severity.ERROR, (), "", "", follows_from="UT401")
        >>> [(each["code"], each["under"]) for each in findings_view([late, cause])]
        [('UT401', ''), ('UT202', 'UT401')]
    """
    heads = folded(findings)
    return [
        {**finding_view(each), "under": "" if each is head else head.code}
        for head, following in heads
        for each in (head, *following)
    ]


def finding_view(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values for a page."""
    said = {name: typeset(str(getattr(finding, name))) for name in ("name", "where", "message", "advice")}
    return {
        **said,
        **{name: str(getattr(finding, name)) for name in ("code", "severity", "snippet")},
        "began": None if finding.began is None else int(finding.began),
        "born": bool(finding.from_start),
        "ended": None if finding.ended is None else int(finding.ended),
    }
