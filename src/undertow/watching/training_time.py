"""`TrainingTime`: how long steps of training take, without what watching them costs."""

from collections.abc import Callable


class TrainingTime:
    """Follows how long a step takes. What watching costs beside it is said by `exclude`.

    Args:
        clock: in seconds.

    Attributes:
        typical: seconds that a step takes without being watched; 0 as long as nobody knows.
        elapsed: seconds of training that were accounted for, without what watching cost.

    Example:
        >>> now = iter([0.0, 1.0, 31.0])
        >>> time = TrainingTime(lambda: next(now))
        >>> time.pass_to(0), time.pass_to(10), time.typical
        (0, 10, 0.1)
        >>> time.exclude(29.0)
        >>> time.pass_to(20), time.typical
        (10, 0.1)
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.typical = self.elapsed = 0.0
        self._then, self._step, self._excluded = 0.0, -1, 0.0

    def exclude(self, seconds: float) -> None:
        """Take seconds that passed since the last time for no part of training."""
        self._excluded += seconds

    def pass_to(self, step: int) -> int:
        """Learn from the steps before this one; return how many there were since the last time, 0 at the first."""
        now, steps = self._clock(), step - self._step
        if not steps:
            return 0
        seconds = max(now - self._then - self._excluded, 0.0)
        known, self._then, self._step, self._excluded = self._step >= 0, now, step, 0.0
        if not known:  # the first step is like no other, and it began who knows when
            return 0
        mean = seconds / steps
        # An evaluation between two steps is no step; many steps tell more than one.
        part = 1 - 0.7**steps
        self.typical = mean if self.typical == 0 else self.typical + part * (min(mean, 3 * self.typical) - self.typical)
        self.elapsed += min(mean, 3 * self.typical) * steps
        return steps
