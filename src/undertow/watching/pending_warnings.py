"""Warnings that arise on the writer's thread and are given on the thread that trains."""

import logging
import warnings

_log = logging.getLogger("undertow")


class PendingWarnings:
    """Collects what went wrong, each kind once, until the thread that trains gives the warnings.

    Attributes:
        trouble: why nothing can be written at the moment, or None.

    Example:
        >>> pending = PendingWarnings()
        >>> pending.trouble_with("now", "the disk is full")
        >>> pending.trouble
        'the disk is full'
    """

    def __init__(self) -> None:
        self.trouble: str | None = None
        self._waiting: list[str] = []
        self._kinds: set[str] = set()

    def add(self, kind: str, message: str) -> None:
        """Have a warning given, unless there was one of this kind already."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._waiting.append(message)

    def trouble_with(self, kind: str, message: str) -> None:
        """Say why nothing can be written, and have a warning given."""
        self.trouble = message
        self.add(kind, message)

    def give(self) -> None:
        """Give the warnings that wait, from the thread that calls this."""
        if not self._waiting:  # asked at everything that is recorded
            return
        messages, self._waiting = self._waiting, []
        for message in messages:
            warn_or_log(f"undertow: {message}", stacklevel=4)


def warn_or_log(message: str, stacklevel: int = 2) -> None:
    """Warn; where warnings are made errors, write to the log instead: a training run must not end by it."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
    except RuntimeWarning:
        _log.warning("%s", message)
