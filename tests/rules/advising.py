"""Findings of an examination, and their lines run as a user would paste them."""

from undertow.examination import examine
from undertow.record import Severity


def found_in(code, model, compute_loss, optimizer):
    return next((each for each in examine(model, compute_loss, optimizer).findings if each.code == code), None)


def run(finding, **names):
    """Run a finding's lines as a user would paste them, and return the names they leave."""
    exec(finding.snippet, names)  # noqa: S102  # it is what the test is about
    return names


def still(code, model, compute_loss, optimizer=None):
    """Whether a finding, more than a note, is made."""
    found = found_in(code, model, compute_loss, optimizer)
    return found is not None and found.severity is not Severity.NOTE


SIZE = {
    "UT101": "total", "UT102": "total", "UT106": "total", "UT107": "horizon", "UT104": "share", "UT105": "share",
    "UT401": "median", "UT402": "layers", "UT404": "layers", "UT408": "reach", "UT409": "pull", "UT407": "missing",
    "UT201": "saturated", "UT202": "dead", "UT203": "logit_gap", "UT301": "expected", "UT501": "parameters",
}  # fmt: skip
"""The number that says how bad a finding is."""


SMALL_IS_BAD = frozenset({"UT107", "UT104", "UT105", "UT408"})


def shrunk(code, before, after):
    """Whether a finding is gone, weighs less, or has a better number."""
    if after is None or after.severity.rank < before.severity.rank:
        return True
    if code not in SIZE:
        return False
    old, new = abs(before.evidence[SIZE[code]]), abs(after.evidence[SIZE[code]])
    return new > old if code in SMALL_IS_BAD else new < old
