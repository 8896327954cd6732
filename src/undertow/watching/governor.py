"""`Governor`: which steps to observe, so that what watching costs stays under a share of the step time.

The governor keeps two accounts in seconds, one for light steps and one for full steps. Every step pays a share of its
time in; what was measured to have been spent is taken out. A step is observed when the account covers it. In a burst
(the first steps, a spike of the loss, the first non-finite number) the account may be overdrawn, by what so many steps
pay in, and the next observed steps wait until that is paid back.

The first full step is a cold one, many times as dear as those that follow. The second is taken at once, to know the
price; what the first cost is told, and charged as if it had been warm.

A run of a second must say something, too: in the first ten seconds of training one step in ten is a full one, until
there were 30, whatever that costs. Then the accounts begin anew, without debts: the promise holds from there on. And a
short run has a whole loss curve: its steps are all light ones, see `ShortRun`.

Nothing is computed at a step that isn't observed: the next one to observe is known in advance.

Beneath the `Governor`: `CostAccount`, one of its accounts, `TrainingTime`, a step's time without watching, and
`ShortRun`, which says how long every step is a light one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

SETTLED = 3
"""Observed steps of one kind after which it is known what is usual."""


@dataclass
class CostAccount:
    """The budget of one kind of observed step, and how often it may happen therefore.

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


class Action(IntEnum):
    """The work at a step; each kind includes those before it."""

    NOTHING = 0
    LIGHT = 1
    """Read what is cheapest: the gradient's norm, the loss."""
    FULL = 2
    """Read everything."""


BURST_STEPS = 100
"""A burst may cost in advance what so many steps pay in: over as many, the overhead is twice what was asked for."""

BURST_LENGTH = 16
LIGHT_SHARE = 0.4
HOOKS_SECONDS = 1.2e-6
"""What hooks that do nothing cost in a step, and no clock of ours can see: measured, see benchmarks/watch.py."""

LONGEST_GAP = 4096
"""Steps between two readings of the clock. A gap is planned from a step time that may change."""


OPENING_STEPS, OPENING_GAP, OPENING_SECONDS = 30, 10, 10.0
"""Full steps that every run begins with, steps from one to the next, and the seconds of training they must be in."""


OPENING_LOSSES = 64
"""Steps at the beginning that are light ones, whatever they cost (some 0.1 ms each): a run of 20 has a loss curve."""

SHORT_RUN, SHORT_RUN_FROM = 1000, 1e-3
"""Steps of a short run, which are all light ones, and the seconds that a step must take for that."""

SHORT_RUN_SECONDS, SHORT_RUN_SHARE = 60.0, 0.02
"""Seconds of training after which they are no longer, unless a light step costs less than this share of a step."""


@dataclass
class ShortRun:
    """Says whether every step is to be a light one, as nobody knows yet how short the run will be.

    Attributes:
        over: whether it was found that the run isn't short, which it doesn't become again.

    Example:
        >>> run = ShortRun()
        >>> run.lasts(999, typical=0.004, elapsed=4.0, price=1e-4)
        True
        >>> run.lasts(1000, typical=0.004, elapsed=4.0, price=1e-4), run.over
        (False, True)
    """

    over: bool = False

    def lasts(self, steps: int, typical: float, elapsed: float, price: float) -> bool:
        """Tell whether the next step is to be a light one.

        Args:
            steps: since watching began.
            typical: seconds that a step takes.
            elapsed: seconds of training.
            price: seconds that a light step costs.
        """
        cheap = elapsed < SHORT_RUN_SECONDS or price <= SHORT_RUN_SHARE * typical
        short = steps < OPENING_LOSSES or (steps < SHORT_RUN and typical >= SHORT_RUN_FROM and cheap)
        self.over = self.over or not short
        return not self.over


class Governor:
    """Decides what to do at the next step.

    Args:
        overhead: share of the step time that watching may cost.
        every: a full step every so many steps, whatever it costs; None to let the governor choose.
        clock: in seconds.

    Attributes:
        step: number of the step that is going on.
        wake: the next step at which there is anything to do: until then it is enough to count.
        light, full: accounts of the two kinds of observed steps.
        spent: seconds that watching has cost.
        hooks: seconds that hooks cost in a step.
        news: called before anything is decided; may `charge` and call for a `burst`.

    Example:
        >>> now = iter(range(1000))
        >>> governor = Governor(overhead=0.01, every=2, clock=lambda: float(next(now)))
        >>> governor.start(0)
        <Action.FULL: 2>
        >>> governor.advance(), governor.advance()
        (<Action.LIGHT: 1>, <Action.FULL: 2>)
    """

    def __init__(self, overhead: float, every: int | None, clock: Callable[[], float]) -> None:
        self.overhead, self.every = overhead, every
        self.step = self.wake = 0
        self.light, self.full = CostAccount(), CostAccount()
        self.spent, self.hooks = 0.0, HOOKS_SECONDS
        self.news: Callable[[], object] = bool
        self._time = TrainingTime(clock)
        self._burst_until = 0
        self._first, self._opening, self._short_run = 0, every is None, ShortRun()
        self._latest: CostAccount | None = None

    def start(self, step: int) -> Action:
        """Begin with this step, which is always a full one."""
        self.step, self.wake, self._first = step, step + 1, step
        self._burst_until = step + BURST_LENGTH
        return Action.FULL

    def burst(self) -> None:
        """Observe the next steps densely: something happens."""
        self._burst_until = self.step + BURST_LENGTH
        self.wake = self.step + 1

    def wake_up(self) -> None:
        """Ask for news at the next step. For other threads."""
        self.wake = 0

    def skip(self) -> None:
        """Count a step that the optimizer didn't take. The next one has begun already: it isn't observed."""
        self.step += 1
        self.wake = self.step + 1

    def charge(self, seconds: float) -> None:
        """Say what it cost to write down the last observed step."""
        (self._latest or self.full).saved -= seconds
        self.spent += seconds  # beside the steps, on a thread of its own: they are no shorter without it

    def light_step(self, seconds: float) -> None:
        """Say what a light step cost."""
        self._count(self.light, seconds)

    def full_step(self, seconds: float) -> None:
        """Say what a full step cost."""
        self._count(self.full, seconds)

    def _count(self, account: CostAccount, seconds: float) -> None:
        account.spend(seconds)
        self._latest = account
        self._time.exclude(seconds)
        self.spent += seconds

    def advance(self) -> Action:
        """Decide what to do at the next step: this one is over, and what it cost must have been said."""
        self.step += 1
        if self.step < self.wake:
            return Action.NOTHING
        self.news()
        self.settle()
        action = self._decide()
        if action is not Action.NOTHING:
            self.wake = self.step + 1
        return action

    @property
    def typical(self) -> float:
        """Return the seconds that a step takes without being watched; 0 as long as nobody knows."""
        return self._time.typical

    @property
    def income(self) -> float:
        """Return the seconds that a step pays in, what the hooks cost taken off."""
        return self.overhead * self.typical - self.hooks

    @property
    def for_light_steps(self) -> float:
        """Return the part of the income for light steps: no more than one at every step takes."""
        part = LIGHT_SHARE * self.income
        return min(part, self.light.price) if self.light.price else part

    @property
    def for_full_steps(self) -> float:
        """Return the part of the income for full steps: the rest."""
        return self.income - self.for_light_steps

    @property
    def measured(self) -> float:
        """Return what watching has cost, as a share of the time of training."""
        return self.spent / self._time.elapsed if self._time.elapsed > 0 else math.nan

    @property
    def full_gap(self) -> float:
        """Return the steps between two full steps, as things stand."""
        if self.every is not None:
            return self.every
        return max(1.0, self.full.price / self.for_full_steps) if self.income > 0 else math.inf

    @property
    def light_gap(self) -> float:
        """Return the steps between two light steps, as things stand."""
        return max(1.0, self.light.price / self.for_light_steps) if self.income > 0 else math.inf

    def account(self) -> dict[str, float | None]:
        """Return the figures behind `sentence`, as JSON values."""
        figures = {
            "overhead": self.overhead,
            "measured": self.measured,
            "step_seconds": self.typical,
            "tape_seconds": self.full.price,
            "note_seconds": self.light.price,
            "tape_gap": self.full_gap,
            "note_gap": self.light_gap,
            "tapes": float(self.full.observed),
            "notes": float(self.light.observed),
        }
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}

    def sentence(self) -> str:
        """Say what watching costs and how often it happens, for people."""
        so_far = f"Up to step {self.step} watching has cost {100 * self.measured:.2g} % of the time of training: "
        so_far += f"{self.full.observed} steps were measured in full and {self.light.observed} more noted. "
        if self._opening:
            so_far += f"The first {OPENING_STEPS} are measured whatever they cost, so that a short run says something. "
        if not self._short_run.over:
            so_far += f"So far every step is noted, as up to {SHORT_RUN} are where they take longer than 1 ms. "
        if self.every is not None:
            return so_far + f"Every {self.every} steps one is measured in full, as asked for."
        if math.isinf(self.full_gap):
            limit, floor = self.overhead * self.typical, self.hooks
            return (
                so_far
                + f"{100 * self.overhead:.2g} % of a step are {limit:.1e} s, hooks alone take {floor:.1e}: no more."
            )
        return (
            so_far
            + f"From here on one in {self.full_gap:.0f} is measured in full and one in {self.light_gap:.0f} noted."
        )

    def settle(self) -> None:
        """Pay in for the steps since the last time."""
        steps = self._time.pass_to(self.step)
        if not steps:
            return
        self.spent += self.hooks * steps
        for account, income in ((self.light, self.for_light_steps), (self.full, self.for_full_steps)):
            account.saved = min(account.saved + max(income, 0.0) * steps, self._most() + account.price)

    def _most(self) -> float:
        """Return the most that is saved up: an old credit is no reason to slow down today."""
        return BURST_STEPS * self.overhead * self.typical

    def _decide(self) -> Action:
        begins = self._begins()
        full, light = self._waits()
        full = min(full, self._until_opening_step())
        light = 0.0 if begins else light
        if full <= 0:
            return Action.FULL
        if light <= 0:
            return Action.LIGHT
        soonest = min(full, light)
        self.wake = self.step + (math.ceil(soonest) if soonest < LONGEST_GAP else LONGEST_GAP)
        return Action.NOTHING

    def _begins(self) -> bool:
        """Tell whether every step is still a light one; what those have cost is forgiven when they no longer are."""
        run = self._short_run
        if run.over:
            return False
        lasts = run.lasts(self.step - self._first, self.typical, self._time.elapsed, self.light.price)
        if not lasts:
            self.light.saved = max(self.light.saved, 0.0)
        return lasts

    def _until_opening_step(self) -> float:
        """Return the steps until the next full step that every run begins with; infinitely many when that is over."""
        if self._opening and (self.full.observed >= OPENING_STEPS or self._time.elapsed >= OPENING_SECONDS):
            self._opening = False
            for account in (self.full, self.light):
                account.saved = max(account.saved, 0.0)
        return max(0, self._first + OPENING_GAP * self.full.observed - self.step) if self._opening else math.inf

    def _waits(self) -> tuple[float, float]:
        """Return the steps until the next full and the next light step."""
        overdraft = self._most() if self.step < self._burst_until else 0.0
        full = self.full.wait(self.for_full_steps, overdraft)
        light = self.light.wait(self.for_light_steps, overdraft / 10)
        if self.every is not None:
            full = -self.step % self.every
        elif self.typical == 0:
            full, light = 1.0, 0.0
        elif self.full.observed == 1 and self.income > 0:
            full = 0.0
        return full, light
