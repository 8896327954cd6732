"""`CostAccount`: what one kind of observed step may cost, and when the next one can be paid."""

import math
from dataclasses import dataclass

SETTLED = 3
"""Observed steps of one kind after which it is known what is usual."""


@dataclass
class CostAccount:
    """What one kind of observed step may cost, and how often it may happen therefore.

    Attributes:
        saved: seconds paid in and not spent.
        price: seconds that it costs once, smoothed; 0 as long as nobody knows.
        observed: how many there were. The first one is cold: what it cost is forgotten when the second is known.
    """

    saved: float = 0.0
    price: float = 0.0
    observed: int = 0

    def spend(self, seconds: float) -> None:
        """Take out what one observed step has cost. One that took much longer than usual was interrupted."""
        self.observed += 1
        if self.observed > SETTLED:
            seconds = min(seconds, 3 * self.price)
        if self.observed > 1:
            self.saved -= 2 * seconds if self.observed == 2 else seconds
        self.price = seconds if self.observed <= 2 else self.price + 0.4 * (seconds - self.price)

    def wait(self, income: float, overdraft: float = 0.0) -> float:
        """Return the steps until the next one can be paid, if every step pays ``income``; 0 if it can be now."""
        missing = self.price - self.saved - overdraft
        if missing <= 0:
            return 0.0
        return missing / income if income > 0 else math.inf
