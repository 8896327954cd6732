"""When something happened in a Run: the step, and the seconds since the Run began."""

import time
from dataclasses import dataclass

clock = time.perf_counter


@dataclass(frozen=True, slots=True)
class StepTime:
    """A step, and the seconds since the Run began."""

    step: int
    time: float


@dataclass(frozen=True, slots=True)
class RunClock:
    """Tells the seconds since a Run began.

    Args:
        start: what `clock` said then.
    """

    start: float

    def now(self) -> float:
        """Return the seconds since the Run began."""
        return clock() - self.start

    def at(self, step: int) -> StepTime:
        """Return a step with the time that it is now."""
        return StepTime(step, self.now())
