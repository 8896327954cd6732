"""When to look: a fixed schedule, or a governor that keeps what watching costs under a share of the step time.

The governor keeps two accounts in seconds, one for notes and one for tapes. Every step pays a share of its time in;
what was measured to have been spent is taken out. A tape is made when the account covers it. In a burst (the first
steps, a spike of the loss, the first non-finite number) the account may be overdrawn, by what so many steps pay in, and
the next tapes wait until that is paid back.

The first tape is a cold one, many times as dear as those that follow. The second is made at once, to know the price;
what the first cost is told, and charged as if it had been warm.

Nothing is computed at a step that isn't looked at: the next one to look at is known in advance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum


class Action(IntEnum):
    """What to do at a step; each includes those before it."""

    NOTHING = 0
    NOTE = 1
    """Read what is cheapest: the gradient's norm, the loss."""
    TAPE = 2
    """Read everything."""


BURST_STEPS = 100
"""A burst may cost in advance what so many steps pay in: over as many, the overhead is twice what was asked for."""

BURST_LENGTH = 16
NOTES_SHARE = 0.4
HOOKS_SECONDS = 1.2e-6
"""What hooks that do nothing cost in a step, and no clock of ours can see: measured, see benchmarks/watch.py."""

SETTLED = 3
"""Looks of one kind after which it is known what is usual."""

LONGEST_GAP = 4096
"""Steps between two looks at the clock. A gap is planned from a step time that may change."""


@dataclass
class Account:
    """What one kind of looking may cost, and how often it may happen therefore.

    Attributes:
        saved: seconds paid in and not spent.
        price: seconds that it costs once, smoothed; 0 as long as nobody knows.
        looks: how many there were. The first one is cold: what it cost is forgotten when the second is known.
    """

    saved: float = 0.0
    price: float = 0.0
    looks: int = 0

    def spend(self, seconds: float) -> None:
        """Take out what one look has cost. What took much longer than usual was interrupted by somebody else."""
        self.looks += 1
        if self.looks > SETTLED:
            seconds = min(seconds, 3 * self.price)
        if self.looks > 1:
            self.saved -= 2 * seconds if self.looks == 2 else seconds
        self.price = seconds if self.looks <= 2 else self.price + 0.4 * (seconds - self.price)

    def wait(self, income: float, overdraft: float = 0.0) -> float:
        """Steps until the next look can be paid, if every step pays ``income``; 0 if it can be now."""
        missing = self.price - self.saved - overdraft
        if missing <= 0:
            return 0.0
        return missing / income if income > 0 else math.inf


@dataclass
class Governor:
    """Decides what to do at the next step.

    Args:
        overhead: share of the step time that watching may cost.
        every: tape every so many steps, whatever it costs; None to let the governor choose.
        clock: in seconds.

    Attributes:
        step: number of the step that is going on.
        typical: seconds that a step takes without being watched; 0 as long as nobody knows.
        spent: seconds that watching has cost.
        elapsed: seconds of training that were looked at, without what watching cost.
        tapes, notes: how many there were.

    Example:
        >>> now = iter(range(1000))
        >>> governor = Governor(overhead=0.01, every=2, clock=lambda: float(next(now)))
        >>> governor.start(0)
        <Action.TAPE: 2>
        >>> governor.advance(), governor.advance()
        (<Action.NOTE: 1>, <Action.TAPE: 2>)
    """

    overhead: float
    every: int | None
    clock: Callable[[], float]
    step: int = 0
    typical: float = 0.0
    spent: float = 0.0
    elapsed: float = 0.0
    tapes: int = 0
    notes: int = 0
    noting: Account = field(default_factory=Account)
    taping: Account = field(default_factory=Account)
    wake: int = 0
    """The next step at which there is anything to do: until then it is enough to count."""
    hooks: float = HOOKS_SECONDS
    """What hooks cost in a step."""
    news: Callable[[], object] = bool
    """Asked before anything is decided; may `charge` and call for a `burst`."""
    _burst_until: int = 0
    _looked: float = 0.0
    _looked_at: int = -1
    _charged: float = 0.0
    _latest: Account | None = None

    def start(self, step: int) -> Action:
        """Begin with this step, which is always taped."""
        self.step, self.wake = step, step + 1
        self._burst_until = step + BURST_LENGTH
        return Action.TAPE

    def burst(self) -> None:
        """Something happens: look closely for some steps."""
        self._burst_until = self.step + BURST_LENGTH
        self.wake = self.step + 1

    def rouse(self) -> None:
        """Ask for news at the next step. For other threads."""
        self.wake = 0

    def skip(self) -> None:
        """The step is over without a step of the optimizer. The next one has begun already: it isn't looked at."""
        self.step += 1
        self.wake = self.step + 1

    def charge(self, seconds: float) -> None:
        """Say what something cost that is neither a note nor a tape, but follows from the last one: writing it down."""
        (self._latest or self.taping).saved -= seconds
        self.spent += seconds  # beside the steps, on a thread of its own: they are no shorter without it

    def noted(self, seconds: float) -> None:
        """Say what a note cost."""
        self.notes += 1
        self._count(self.noting, seconds)

    def taped(self, seconds: float) -> None:
        """Say what a tape cost."""
        self.tapes += 1
        self._count(self.taping, seconds)

    def _count(self, account: Account, seconds: float) -> None:
        account.spend(seconds)
        self._latest = account
        self._charged += seconds
        self.spent += seconds

    def advance(self) -> Action:
        """The step is over: what to do at the next one. What the last one cost must have been said."""
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
    def income(self) -> float:
        """Seconds that a step pays in, what the hooks cost taken off."""
        return self.overhead * self.typical - self.hooks

    @property
    def for_notes(self) -> float:
        """The part of it for notes: no more than a note at every step takes."""
        part = NOTES_SHARE * self.income
        return min(part, self.noting.price) if self.noting.price else part

    @property
    def for_tapes(self) -> float:
        """The rest."""
        return self.income - self.for_notes

    @property
    def measured(self) -> float:
        """What watching has cost, as a share of the time of training."""
        return self.spent / self.elapsed if self.elapsed > 0 else math.nan

    @property
    def tape_gap(self) -> float:
        """Steps between two tapes, as things stand."""
        if self.every is not None:
            return self.every
        return max(1.0, self.taping.price / self.for_tapes) if self.income > 0 else math.inf

    @property
    def note_gap(self) -> float:
        """Steps between two notes, as things stand."""
        return max(1.0, self.noting.price / self.for_notes) if self.income > 0 else math.inf

    def account(self) -> dict[str, float | None]:
        """The figures behind `sentence`, as JSON values."""
        figures = {
            "overhead": self.overhead,
            "measured": self.measured,
            "step_seconds": self.typical,
            "tape_seconds": self.taping.price,
            "note_seconds": self.noting.price,
            "tape_gap": self.tape_gap,
            "note_gap": self.note_gap,
            "tapes": float(self.tapes),
            "notes": float(self.notes),
        }
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}

    def sentence(self) -> str:
        """What watching costs and how often it happens, for people."""
        so_far = f"Up to step {self.step} watching has cost {100 * self.measured:.2g} % of the time of training: "
        so_far += f"{self.tapes} steps were taped and {self.notes} more noted. "
        if self.every is not None:
            return so_far + f"Every {self.every} steps one is taped, as asked for."
        if math.isinf(self.tape_gap):
            limit, floor = self.overhead * self.typical, self.hooks
            return (
                so_far
                + f"{100 * self.overhead:.2g} % of a step are {limit:.1e} s, hooks alone take {floor:.1e}: no more."
            )
        return so_far + f"From here on one in {self.tape_gap:.0f} is taped and one in {self.note_gap:.0f} noted."

    def settle(self) -> None:
        """Pay in for the steps since the last time."""
        now, steps = self.clock(), self.step - self._looked_at
        if not steps:
            return
        seconds = max(now - self._looked - self._charged, 0.0)
        known, self._looked, self._looked_at, self._charged = self._looked_at >= 0, now, self.step, 0.0
        if not known:  # the first step is like no other, and it began who knows when
            return
        mean = seconds / steps
        # An evaluation between two steps is no step; many steps tell more than one.
        part = 1 - 0.7**steps
        self.typical = mean if self.typical == 0 else self.typical + part * (min(mean, 3 * self.typical) - self.typical)
        self.elapsed += min(mean, 3 * self.typical) * steps
        self.spent += self.hooks * steps
        for account, income in ((self.noting, self.for_notes), (self.taping, self.for_tapes)):
            account.saved = min(account.saved + max(income, 0.0) * steps, self._most() + account.price)

    def _most(self) -> float:
        """More isn't saved up: an old credit is no reason to slow down today."""
        return BURST_STEPS * self.overhead * self.typical

    def _decide(self) -> Action:
        tape, note = self._waits()
        if tape <= 0:
            return Action.TAPE
        if note <= 0:
            return Action.NOTE
        soonest = min(tape, note)
        self.wake = self.step + (math.ceil(soonest) if soonest < LONGEST_GAP else LONGEST_GAP)
        return Action.NOTHING

    def _waits(self) -> tuple[float, float]:
        """Steps until the next tape and the next note."""
        overdraft = self._most() if self.step < self._burst_until else 0.0
        tape = self.taping.wait(self.for_tapes, overdraft)
        note = self.noting.wait(self.for_notes, overdraft / 10)
        if self.every is not None:
            tape = -self.step % self.every
        elif self.typical == 0:
            tape, note = 1.0, 0.0
        elif self.taping.looks == 1 and self.income > 0:
            tape = 0.0
        return tape, note
