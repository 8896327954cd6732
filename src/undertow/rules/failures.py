"""Keep the findings of all other rules where one rule fails on what it is given."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.record import Finding


class RuleFailedWarning(RuntimeWarning):
    """A rule could not judge a run; what other rules found stands.

    Example:
        >>> issubclass(RuleFailedWarning, RuntimeWarning)
        True
    """


_PERCENT = re.compile(r"(\d)%(?![\w(])")
_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


def findings_by(code: str, judge: Callable[[Any], Iterable[Finding]], subject: object) -> list[Finding]:
    """Return what a rule finds; where it raises, nothing, with a `RuleFailedWarning`.

    Example:
        >>> with failures() as found:
        ...     findings_by("UT101", lambda run: [1 / 0], None)
        []
        >>> found
        ['UT101 could not judge this run (ZeroDivisionError: division by zero)']
    """
    try:
        with np.errstate(all="ignore"):  # a number near the largest there is overflows when it is squared
            return [_typeset(each) for each in judge(subject)]
    except Exception as error:
        message = f"{code} could not judge this run ({type(error).__name__}: {error})"
        collected = _collected.get()
        if collected is None:
            text = f"{message}: what other rules found stands; please report it with the run's file"
            warnings.warn(text, RuleFailedWarning, stacklevel=2)
        elif message not in collected:
            collected.append(message)
        return []


def _typeset(finding: Finding) -> Finding:
    """Return a finding whose sentences have a space before every %, as Python's own format has none."""
    told = finding.message, finding.advice, finding.threshold
    message, advice, threshold = (_PERCENT.sub(r"\1 %", each) for each in told)
    if (message, advice, threshold) == told:
        return finding
    return replace(finding, message=message, advice=advice, threshold=threshold)


@contextlib.contextmanager
def failures() -> Iterator[list[str]]:
    """Collect in a list what fails inside, in this thread, in place of warnings."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)
