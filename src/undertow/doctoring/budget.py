"""How a treatment spends its time: how many steps a trial of the race and of the confirmation may have."""

import re
from dataclasses import dataclass

FIRST, SECOND, THIRD, CONFIRMATION = 0.3, 0.2, 0.08, 0.3
"""Parts of the budget, for the rounds of the race and the confirmation; the rest is for looking: the control watched,
examinations, the first start of processes."""

LONGEST, SHORTEST = 600, 30
"""Steps of a full trial where the training doesn't say how many it has, and of any trial at least."""

RACE_SEEDS, FINALISTS = 2, 2
SHORT = 0.4
"""Length of the first round's trials as a part of full ones: enough to tell what works from what doesn't (facts: two
seeds at a quarter of the steps put every arm that works before every one that doesn't, in 7 of 7 trainings)."""

FEWEST = 4
"""Arms of a round at least."""

MEASURED = 4
"""Times at which a trial is scored."""

OVERHEAD = 0.01
"""Seconds that a trial takes besides its steps."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class TooLittleTimeError(ValueError):
    """A budget that has no room for the steps that fair trials need."""


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
    """Know what there is time for.

    Attributes:
        seconds: of the whole treatment, on the clock.
        step_seconds: of one step of the training as it is.
        workers: trials that run at a time.
        seeds: of the confirmation.
        steps: of a full training, where it is known.
        score_seconds: of one scoring.

    Example:
        >>> Budget(60.0, 0.01, workers=2, seeds=5).full
        179
    """

    seconds: float
    step_seconds: float
    workers: int
    seeds: int = 5
    steps: int | None = None
    score_seconds: float = 0.0

    @property
    def full(self) -> int:
        """Steps of a full trial: the training's own number if there is time for it in the confirmation."""
        trials = (2 + FINALISTS) * self.seeds  # the control, the finalists, and one of them with targets mixed up
        return self._affordable(CONFIRMATION, trials, self.steps or LONGEST)

    def short(self, arms: int) -> int:
        """Return the steps of a trial in the first round of the race, with so many arms."""
        wanted = max(min(SHORTEST, self.full), int(SHORT * self.full))
        return self._affordable(FIRST, RACE_SEEDS * (arms + 1), wanted)

    def arms(self, steps: int, part: float) -> int:
        """Return how many arms a round has time for, at so many steps each and a part of the budget."""
        return max(FEWEST, int(part * self.seconds * self.workers / (RACE_SEEDS * self.cost(steps))))

    def cost(self, steps: int) -> float:
        """Return the seconds of a trial."""
        return steps * max(self.step_seconds, 1e-5) + (MEASURED + 1) * self.score_seconds + OVERHEAD

    def _affordable(self, part: float, trials: int, most: int) -> int:
        each = part * self.seconds * self.workers / trials
        left = each - (MEASURED + 1) * self.score_seconds - OVERHEAD
        return int(max(min(SHORTEST, most), min(most, left / max(self.step_seconds, 1e-5))))
