"""`GovernorReport`: what the governor hears of the writer's thread, and what the Run hears of the governor."""

from undertow.watching.feedback import Feedback
from undertow.watching.governor import Governor
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_time import RunClock

FIRST = 16
"""Steps after which the Run is told for the first time what watching costs; then after twice as many, and so on."""


class GovernorReport:
    """Charges the governor for what the writer's thread has cost, passes bursts on, and reports to the Run.

    It holds neither the model nor the user's functions: the governor holds it, and is held by what waits to be written.

    Args:
        governor: decides which steps to observe.
        feedback: of the writer's thread.
        writer: of the Run.
        clock: of the Run.
    """

    def __init__(self, governor: Governor, feedback: Feedback, writer: RunWriter, clock: RunClock) -> None:
        self._governor, self._feedback, self._writer, self._clock = governor, feedback, writer, clock
        self._charged = 0.0
        self._next = 0

    def begin(self, step: int) -> None:
        """Begin with this step."""
        self._next = step + FIRST
        self._governor.news = self.news

    def news(self) -> None:
        """Tell the governor, before it decides, what the writer's thread has cost and what it has seen."""
        governor, seconds = self._governor, self._feedback.seconds
        governor.charge(seconds - self._charged)
        self._charged = seconds
        if self._feedback.take_request():
            governor.burst()
        if governor.step >= self._next:
            self._next = 2 * governor.step
            self.write()

    def write(self) -> None:
        """Say in the Run what watching costs, and how often steps are observed therefore."""
        governor = self._governor
        governor.settle()
        data = governor.account()
        self._writer.event(governor.step, self._clock.now(), "governor", governor.sentence(), data)
        self._writer.update_header({"watching": data})
