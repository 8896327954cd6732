"""`FindingLog`: hands findings from the thread that finds them to the one that trains, which logs them when it may."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from undertow.record import Finding, Severity

_log = logging.getLogger("undertow")

_LEVELS = {Severity.NOTE: logging.INFO, Severity.WARNING: logging.WARNING, Severity.ERROR: logging.ERROR}


class FindingLog:
    """Keeps what was found until the loop has a moment to tell of it.

    Args:
        on_finding: the user's own function, which hears of every finding at once.

    Example:
        >>> told, log = [], FindingLog()
        >>> log.hear(Finding("UT101", "vanishing", Severity.ERROR, (), "fc1", "It fades."))
        >>> log.tell(lambda finding: told.append(finding.code))
        >>> log.tell(lambda finding: told.append(finding.code))
        >>> told
        ['UT101']
    """

    def __init__(self, on_finding: Callable[[Finding], object] | None = None) -> None:
        self._on_finding = on_finding
        self._waiting: deque[Finding] = deque()

    def hear(self, finding: Finding) -> None:
        """Take a finding, on whatever thread."""
        self._waiting.append(finding)
        if self._on_finding is not None:
            self._on_finding(finding)

    def tell(self, to: Callable[[Finding], Any] | None = None) -> None:
        """Tell what was found since the last time; by default to Python's logging, under the name ``undertow``."""
        while self._waiting:
            finding = self._waiting.popleft()
            if to is None:
                _log.log(_LEVELS[finding.severity], "undertow: %s", finding)
            else:
                to(finding)
