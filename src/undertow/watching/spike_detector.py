"""`SpikeDetector`: whether the loss rose far above what it has been."""

import math
from dataclasses import dataclass

SPIKE = 6.0
"""Deviations from its mean by which a loss must rise to be a spike, and at least by half of itself."""

SETTLED = 20
"""Losses that must be known before one can be called a spike."""


@dataclass
class SpikeDetector:
    """Follows the mean and the variance of the loss, and tells whether the next one is a spike.

    Example:
        >>> detector = SpikeDetector()
        >>> any(detector.is_spike(2.0 + 0.01 * (n % 3)) for n in range(30)), detector.is_spike(9.0)
        (False, True)
    """

    mean: float = 0.0
    variance: float = 0.0
    known: int = 0

    def is_spike(self, loss: float) -> bool:
        """Take one more loss, and tell whether it is a spike."""
        if not math.isfinite(loss):
            return False
        away = loss - self.mean
        spike = self.known >= SETTLED and away > max(SPIKE * math.sqrt(self.variance), 0.5 * abs(self.mean))
        share = 1 / (self.known + 1) if self.known < 2 * SETTLED else 0.05
        self.mean += share * away
        self.variance = (1 - share) * (self.variance + share * away * away)
        self.known += 1
        return spike
