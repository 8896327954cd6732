"""`Feedback`: what the writer's thread tells the thread that trains."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.measure import squares_fit


@dataclass
class Feedback:
    """Carries what was learned from the numbers of past steps back to the thread that trains.

    It holds neither the model nor the user's functions, so whoever holds it doesn't keep them alive.

    Args:
        wake_up: makes the governor ask for news at the next step.

    Attributes:
        seconds: CPU time that the writer's thread has used so far.
        wanted: whether a burst was asked for: the next steps are to be observed densely.

    Example:
        >>> feedback = Feedback(lambda: None)
        >>> feedback.request_burst()
        >>> feedback.take_request(), feedback.take_request()
        (True, False)
    """

    wake_up: Callable[[], object]
    seconds: float = 0.0
    wanted: bool = False
    _lost: bool = False
    _zeros: dict[str, int] = field(default_factory=dict)
    _doubted: set[str] = field(default_factory=set)

    @property
    def precise(self) -> bool:
        """Tell whether devices are to add up squares in float64, as float32 may not hold them."""
        return self._lost or bool(self._doubted)

    def saw_norms(self, what: str, norms: NDArray[Any] | float) -> None:
        """Learn from the norms of an observed step in what precision the next ones are to be taken.

        Numbers were met whose squares float32 can't hold: from then on it is float64. Only a norm of 0 doesn't tell:
        maybe all is zero, in a layer that is dead or a branch that begins at 0, and stays so at no price. Whether
        something was lost tells the next step, taken in float64: after the first such norm, the second, the fourth,
        the eighth.

        Args:
            what: they are norms of.
            norms: one or many.

        Example:
            >>> feedback = Feedback(lambda: None)
            >>> seen = []
            >>> for norm in (0.0, 0.0, 0.0, 1.0, 1e-20, 1.0):
            ...     feedback.saw_norms("gradient", norm)
            ...     seen.append(feedback.precise)
            >>> seen
            [True, True, False, False, True, True]
        """
        self._doubted.discard(what)
        if squares_fit(norms):
            return
        some = np.asarray(norms)
        zero = some == 0
        self._lost |= not squares_fit(some[~zero])
        if zero.any():
            count = self._zeros[what] = self._zeros.get(what, 0) + 1
            if count & (count - 1) == 0:
                self._doubted.add(what)

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
