"""`Feedback`: what the writer's thread tells the thread that trains."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Feedback:
    """Carries what was learned from the numbers of past steps back to the thread that trains.

    It holds neither the model nor the user's functions, so whoever holds it doesn't keep them alive.

    Args:
        wake_up: makes the governor ask for news at the next step.

    Attributes:
        seconds: CPU time that the writer's thread has used so far.
        wanted: whether a burst was asked for: the next steps are to be observed densely.
        precise: whether numbers were met whose squares float32 can't hold: they are added up in float64 from now on.

    Example:
        >>> feedback = Feedback(lambda: None)
        >>> feedback.request_burst()
        >>> feedback.take_request(), feedback.take_request()
        (True, False)
    """

    wake_up: Callable[[], object]
    seconds: float = 0.0
    wanted: bool = False
    precise: bool = False

    def request_burst(self) -> None:
        """Ask for the next steps to be observed densely."""
        self.wanted = True
        self.wake_up()

    def take_request(self) -> bool:
        """Tell whether a burst was asked for since this was last called."""
        wanted = self.wanted
        if wanted:
            self.wanted = False
        return wanted

    def worked(self) -> None:
        """Read the CPU time of the thread that calls this, which is the writer's."""
        self.seconds = time.thread_time()
