"""What is said of a Run in words, on a page and in a terminal."""

from collections.abc import Mapping
from typing import Any

from undertow.record import Finding
from undertow.render.run_series import Course

NOTHING_YET = "No step was recorded: there is nothing to judge yet."


def facts(course: Course, header: Mapping[str, Any]) -> list[str]:
    """A run in a line: what was trained, how far it is."""
    known = [str(header.get("model", "model"))]
    if header.get("parameters"):
        known.append(f"{header['parameters']:,} parameters")
    if "step" in course.latest:
        known.append(f"step {course.latest['step']:,.0f}")
    if "loss" in course.latest:
        known.append(f"loss {course.latest['loss']:.4g}")
    if "time" in course.latest:
        known.append(duration(course.latest["time"]))
    noted = f"{course.noted:,} step{'' if course.noted == 1 else 's'} noted"
    return [*known, f"{noted}, {len(course.taped):,} of them taped"]


def duration(seconds: float) -> str:
    """For people.

    Example:
        >>> duration(3.2), duration(200), duration(7_260)
        ('3.2 s', '3 min 20 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes = int(seconds) // 60
    return f"{minutes} min {int(seconds) % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def told(finding: Finding) -> dict[str, Any]:
    """A finding for a page."""
    return {
        **{name: str(getattr(finding, name)) for name in ("code", "name", "severity", "where", "message")},
        "began": None if finding.began is None else int(finding.began),
        "born": bool(finding.from_start),
        "ended": None if finding.ended is None else int(finding.ended),
    }
