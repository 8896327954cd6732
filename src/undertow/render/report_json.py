"""Render an examination as JSON values, and read them back."""

from collections.abc import Mapping
from typing import Any

from undertow.analysis.theory_check.interpretation import summary
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, with_finite_steps
from undertow.record.checking import MAPPING, TABLES, TEXT, checked

FORMAT = "undertow report 1"
"""What a report's JSON says it is. Its number rises when an older undertow could no longer read it."""


_KINDS = {"format": TEXT, "run": MAPPING, "gains": TABLES, "theory": MAPPING, "findings": TABLES}


def to_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return ``format``, ``run``, ``gains``, ``theory`` and ``findings``; nan is None, inf "inf"."""
    return {
        "format": FORMAT,
        "run": diagnosis.run.to_dict(),
        "gains": [gain.to_dict() for gain in diagnosis.gains],
        "theory": {"saying": summary(diagnosis.theory), **diagnosis.theory.to_dict()},
        "findings": [finding.to_dict() for finding in diagnosis.findings],
    }


def from_dict(data: Mapping[str, Any]) -> Diagnosis:
    """Return the diagnosis that `to_dict` wrote. Gains and theory are derived anew from the run.

    Raises:
        ValueError: this is no report, or one of another format.

    Example:
        >>> from_dict(to_dict(Diagnosis(Run({"model": "Net"}, ()), step=0))).run.header
        {'model': 'Net'}
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, Mapping) else None
        raise ValueError(f"this is not {FORMAT!r} but {found!r}" if found else "this is not a report of undertow")
    checked(data, _KINDS, "the report")
    run = with_finite_steps(Run.from_dict(data["run"]))
    findings = [Finding.from_dict(each) for each in data["findings"]]
    if any(site >= len(run.sites) for finding in findings for site in finding.sites):
        raise ValueError("a finding is about a Site that the run hasn't")
    return Diagnosis(run, step=0, findings=findings)
