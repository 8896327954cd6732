"""How a treatment spends its time: how many steps a trial of the race and of the confirmation may have."""

import re
from dataclasses import dataclass

RACE, CONFIRMATION = 0.45, 0.4
"""Parts of the budget; the rest is for looking: control, examinations, the first start of processes."""

LONGEST, SHORTEST = 600, 30
"""Steps of a full trial where the training doesn't say how many it has, and of any trial at least."""

RACE_SEEDS = 2
SHORT = 0.34
"""Length of the race's first round as a part of a full trial."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(budget: str | float) -> float:
    """Return a budget in seconds.

    Raises:
        ValueError: it isn't a positive number of seconds, or one followed by s, m or h.

    Example:
        >>> seconds_of("5m"), seconds_of("1h 30m"), seconds_of(20)
        (300.0, 5400.0, 20.0)
        >>> seconds_of("soon")
        Traceback (most recent call last):
        ValueError: budget is 'soon': write how long the doctor may take, such as 90s, 5m or 1h 30m
    """
    if isinstance(budget, int | float):
        seconds = float(budget)
    else:
        parts = re.findall(r"([0-9.]+)\s*([smh])", budget.strip())
        whole = "".join(f"{number}{unit}" for number, unit in parts) == re.sub(r"\s", "", budget)
        try:
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts) if parts and whole else float(budget)
        except ValueError:
            seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"budget is {budget!r}: write how long the doctor may take, such as 90s, 5m or 1h 30m")
    return seconds


@dataclass(frozen=True)
class Budget:
    """What there is time for.

    Attributes:
        seconds: of the whole treatment, on the clock.
        step_seconds: of one step of the training as it is.
        workers: trials that run at a time.
        seeds: of the confirmation.
        steps: of a full training, where it is known.

    Example:
        >>> Budget(60.0, 0.01, workers=2, seeds=5).full
        480
    """

    seconds: float
    step_seconds: float
    workers: int
    seeds: int = 5
    steps: int | None = None

    @property
    def full(self) -> int:
        """Steps of a full trial: the training's own number if there is time for it in the confirmation."""
        affordable = CONFIRMATION * self.seconds * self.workers / (2 * self.seeds * max(self.step_seconds, 1e-5))
        return int(max(SHORTEST, min(self.steps or LONGEST, affordable)))

    @property
    def short(self) -> int:
        """Steps of a trial in the first round of the race."""
        return max(SHORTEST, int(SHORT * self.full))

    def arms(self, steps: int, part: float = RACE / 2) -> int:
        """How many arms a round of the race has time for, at so many steps each."""
        each = RACE_SEEDS * steps * max(self.step_seconds, 1e-5) / self.workers
        return max(3, int(part * self.seconds / each))
