"""Say first what a fault has come to in a run: what its loss did, and whether to start again from fresh weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from undertow.record import Finding, Severity, folded
from undertow.rules.registry import RULES, holds_for
from undertow.wording import size

NOT_LEARNING, NO_NUMBER = "UT704", "UT103"

STOOD = 0.9
"""Part of its start that a loss keeps of which "has not fallen" is said; it may stand at chance below that."""

OF_THE_START = ("UT1", "UT2", "UT3")
"""Families of faults that lie in the weights that a training begins with."""

FRESH = "Then start again from fresh weights, with a new optimizer."


def came_late(cause: Finding, steps: float, first: float = 0.0) -> bool:
    """Tell whether a fault developed in the second half of a run, whose loss had stood still in the first.

    Example:
        >>> late = Finding("UT101", "", Severity.WARNING, (), "", "", began=220)
        >>> came_late(late, 300), came_late(late, 900)
        (True, False)
    """
    return not cause.from_start and cause.began is not None and cause.began - first > steps / 2


def with_outcomes(findings: Sequence[Finding]) -> list[Finding]:
    """Return a run's findings; those that explain others say what became of the training, and where to begin again.

    Args:
        findings: the worst first, causes before what they explain, as `undertow.rules.judging.in_order` returns them.

    Example:
        >>> cause = Finding("UT401", "", Severity.ERROR, (), "", "A step is too long.", advice="Halve it.")
        >>> lost = Finding("UT103", "", Severity.ERROR, (), "", "", began=6, follows_from="UT401")
        >>> first, _ = with_outcomes([cause, lost])
        >>> print(first.message, first.advice, sep="\\n")
        The training broke: inf or nan from step 6 on. A step is too long.
        Halve it. Then start again from fresh weights, with a new optimizer.
    """
    told = {id(head): _told(head, rest) for head, rest in folded(findings)}
    return [told.get(id(each), each) for each in findings]


def _told(head: Finding, rest: Sequence[Finding]) -> Finding:
    if head.severity is Severity.NOTE or head.ended is not None:
        return head
    lasting = {each.code: each for each in (head, *rest) if each.severity is not Severity.NOTE and each.ended is None}
    advice = f"{head.advice} {_again(head, lasting)}".strip() if head.advice else ""
    return replace(head, message=f"{_outcome(head, lasting)} {head.message}".strip(), advice=advice)


def _outcome(head: Finding, lasting: Mapping[str, Finding]) -> str:
    """Say in a sentence what became of the loss, where another finding tells; empty where the head says so itself."""
    if NO_NUMBER in lasting and head.code != NO_NUMBER:
        began = lasting[NO_NUMBER].began
        return "The training broke: inf or nan" + (f" from step {began:,} on." if began is not None else ".")
    if NOT_LEARNING in lasting and head.code != NOT_LEARNING:
        return _not_fallen(lasting[NOT_LEARNING].evidence)
    return ""


def _not_fallen(evidence: Mapping[str, float]) -> str:
    if not {"start", "best", "steps"} <= set(evidence):
        return ""
    start, best, steps = (evidence[name] for name in ("start", "best", "steps"))
    known = (("chance", "guessing scores"), ("constant", "one answer for all examples scores"))
    beside = next((f"; {text} {size(evidence[name])}" for name, text in known if name in evidence), "")
    said = "The loss has not fallen" if best > STOOD * start else "Nothing has been learned"
    levels = f"the loss was {size(start)} in its first steps and {size(best)} at best{beside}"
    return f"{said} in {steps:,.0f} steps ({levels})."


def _again(head: Finding, lasting: Mapping[str, Finding]) -> str:
    """Say to start again, where the weights of the run are lost or began wrong, and the advice doesn't say so yet."""
    if head.starts_again or "skipped" in head.evidence:  # by a loss scaler: no step has touched them
        return ""
    began_wrong = NOT_LEARNING in lasting and head.code.startswith(OF_THE_START)
    return FRESH if began_wrong or any(_spoils(each) for each in lasting.values()) else ""


def _spoils(finding: Finding) -> bool:
    rule = RULES.get(finding.code)
    return rule is not None and holds_for(rule.spoils_weights, finding)
