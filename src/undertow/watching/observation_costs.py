"""`ObservationCosts`: what an observed step cost, so that the governor can take it off its accounts."""

from undertow.watching.full_step import FullStep
from undertow.watching.governor import Governor
from undertow.watching.step_observer import StepObserver
from undertow.watching.step_time import clock

WINDOW_SECONDS = 4e-6
"""What the hooks around a module's call cost, which no clock of ours can see."""

FULL_SHARE = 0.6
"""The part of a taped backward pass that it would take without the tape, as long as nobody knows."""


class ObservationCosts:
    """Estimates what observing costs: what the observer timed, and what the tape's own hooks cost inside the passes.

    Args:
        governor: told of it.

    Attributes:
        usual_backward: seconds that backward passes take without the tape; 0 as long as nobody knows.
    """

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self.usual_backward = 0.0

    def hidden(self, observer: StepObserver) -> float:
        """Estimate the seconds that the tape's hooks cost inside the passes."""
        if observer.step.windows is None:
            return 0.0
        backward = observer.timer.backward
        usual = self.usual_backward or FULL_SHARE * backward
        return max(backward - usual, 0.0) + WINDOW_SECONDS * observer.step.windows

    def so_far(self, observer: StepObserver) -> float:
        """Estimate the seconds that a step has cost, without what is done to finish it."""
        return observer.timer.cost + self.hidden(observer)

    def pay(self, observer: StepObserver, finishing: float) -> None:
        """Charge the governor for a step; ``finishing``: the clock's time when it began to be finished."""
        cost = self.so_far(observer) + clock() - finishing
        if isinstance(observer.step, FullStep):
            self._governor.full_step(cost)
            return
        self._governor.light_step(cost)
        share = 0.2 if self.usual_backward else 1.0
        self.usual_backward += share * (observer.timer.backward - self.usual_backward)
