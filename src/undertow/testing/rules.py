"""The contract of a rule: it fires where it should, is silent where it should be, and what it says can be used."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from undertow.examination import examine
from undertow.record import Finding, Run
from undertow.rules import RULES, over_time
from undertow.rules.explained import OURS, sections
from undertow.rules.registry import SECTIONS
from undertow.testing.explained import hold_code, hold_letters, hold_lines, hold_sections

Case = Any
"""A `Run`, what `undertow.examine` takes as ``(model, compute_loss)`` or with an optimizer, or a function that makes
one."""


def check_rule(code: str, fires: Case, healthy: Case) -> None:
    """Hold a rule to its contract.

    Args:
        code: of the rule.
        fires: a case in which the rule finds something.
        healthy: one that looks like it, in which it finds nothing.

    Raises:
        AssertionError: it doesn't keep the contract; the message says where.

    Example:
        >>> from torch import nn
        >>> cut, whole = Run({"unreached": ["fc.weight"]}, ()), Run({"unreached": []}, ())
        >>> class Cut(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)
        ...     def forward(self, x):
        ...         return self.used(x) + self.unused(x).detach()
        >>> import torch
        >>> def case(model):
        ...     return model, lambda: model(torch.ones(4, 2)).square().mean()
        >>> check_rule("UT501", lambda: case(Cut()), lambda: case(nn.Linear(2, 2)))
    """
    __tracebackhide__ = True
    check_explained(code)
    run, found = _judged(fires)
    told = [each for each in found if each.code == code]
    if not told:
        raise AssertionError(f"{code} finds nothing where it should; found: {_codes(found)}")
    for finding in told:
        check_finding(finding, run)
    _, found = _judged(healthy)
    said = [str(each) for each in found if each.code == code]
    if said:
        raise AssertionError(f"{code} finds something in the healthy case: {said[0]}")


def check_explained(code: str) -> None:
    """Hold a rule's code and docstring to what ``undertow rule`` shows of them.

    Raises:
        AssertionError: there is no such rule, or a section is missing, empty or out of order.

    Example:
        >>> check_explained("UT101")
    """
    __tracebackhide__ = True
    hold_code(code, "rule", RULES)
    hold_letters(code, OURS, "rules", [judge.__module__ for judge in _judges(code)])
    if not re.fullmatch(r"[A-Z]{2,8}\d{3}", code):
        raise AssertionError(f"{code} is no code: letters and three digits, as in UT101")
    hold_sections(code, sections(RULES[code]), SECTIONS)


def check_finding(finding: Finding, run: Run) -> None:
    """Hold a finding to what pages, JSON and annotations make of it.

    Raises:
        AssertionError: it has no message, names Sites that there aren't, or has lines to paste that are no Python.

    Example:
        >>> from undertow.record import Severity
        >>> check_finding(Finding("UT101", "vanishing", Severity.ERROR, (0,), "fc", "It fades."), Run({}, ()))
        Traceback (most recent call last):
        AssertionError: UT101 names Sites that the run hasn't: (0,)
    """
    __tracebackhide__ = True
    code = finding.code
    if not finding.message.strip():
        raise AssertionError(f"{code} has no message")
    if not all(0 <= site < len(run.sites) for site in finding.sites):
        raise AssertionError(f"{code} names Sites that the run hasn't: {finding.sites}")
    if not all(isinstance(value, int | float) for value in finding.evidence.values()):
        raise AssertionError(f"{code}: evidence is numbers")
    if not 0 <= finding.confidence <= 1:
        raise AssertionError(f"{code} has a confidence of {finding.confidence}, not between 0 and 1")
    hold_lines(code, finding.snippet)
    again = Finding.from_dict(finding.to_dict())
    numbers = {name: value for name, value in finding.evidence.items() if not math.isnan(value)}
    if not numbers.items() <= again.evidence.items():
        raise AssertionError(f"{code} is another finding when it was written and read")


def _judges(code: str) -> list[Callable[..., Any]]:
    return [judge for judge in (RULES[code].judge, RULES[code].judge_run) if judge is not None]


def _judged(case: Case) -> tuple[Run, Sequence[Finding]]:
    made = case() if callable(case) else case
    if isinstance(made, Run):
        return made, over_time(made)
    report = examine(*made)
    return report.run, report.findings


def _codes(found: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(each.code for each in found)) or "nothing"
