"""The doctor's way: diagnose, prescribe, look, race, confirm."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from undertow.doctoring.arms import simplicity
from undertow.doctoring.budget import RACE_SEEDS, Budget
from undertow.doctoring.comparison import Comparison, Verdict, compare
from undertow.doctoring.screening import look
from undertow.doctoring.treatment import Attempt
from undertow.doctoring.trials import Arm, Cut, Outcome, Trials
from undertow.training import Training

FIRST_FRESH_SEED = 1_000
"""Seeds of the confirmation begin here: the race's winner is flattered by the seeds that it won on."""

TOUCH = 0.02
"""Part of the way within which two arms do equally well, and the simpler one is preferred."""


@dataclass
class Course:
    """One treatment under way.

    Args:
        training: as the user has it.
        trials: makes the trials.
        budget: says how long they may be.
        levels: of remedies that may be tried.
        deadline: of `time.monotonic`.
        tell: called with a line now and then.
    """

    training: Training
    trials: Trials
    budget: Budget
    levels: str
    deadline: float
    tell: Callable[[str], object] = lambda _: None
    attempts: dict[Arm, Attempt] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def race(self, arms: Sequence[Arm], steps: int) -> list[Arm]:
        """Run arms beside the control on shared seeds, and return them with the best first."""
        cuts = [Cut(arm, seed, steps) for arm in ((), *arms) for seed in range(RACE_SEEDS)]
        self.tell(f"{len(arms)} remedies and pairs race over {steps} steps")
        made = self.trials.make(cuts, self.deadline)
        for arm in arms:
            self._note(arm, "raced", [made.get(Cut(arm, seed, steps)) for seed in range(RACE_SEEDS)])
        finished = [arm for arm in arms if self.attempts[arm].scores]
        reach = self._reach(finished)
        return sorted(finished, key=lambda arm: (-round(self._worst(arm) / reach), *simplicity(arm)))

    def _worst(self, arm: Arm) -> float:
        return min(self.attempts[arm].scores)

    def _reach(self, arms: Sequence[Arm]) -> float:
        """Return the difference of scores under which two arms do equally well."""
        worst = [self._worst(arm) for arm in arms]
        return max(TOUCH * (max(worst, default=0.0) - min(worst, default=0.0)), 1e-12)

    def _note(self, arm: Arm, stage: str, outcomes: Sequence[Outcome | None]) -> None:
        errors = [outcome.error for outcome in outcomes if outcome is not None and outcome.error]
        scores = [outcome.trial.score for outcome in outcomes if outcome is not None and outcome.trial is not None]
        whole = tuple(scores) if len(scores) == len(outcomes) and np.isfinite(scores).all() else ()
        error = errors[0] if errors else "" if whole else "there was no time for it, or its score is not a number"
        self.attempts[arm] = replace(
            self.attempts.get(arm, Attempt(arm, stage)), stage=stage, scores=whole, error=error
        )

    def look(self, arms: Sequence[Arm]) -> list[Arm]:
        """Examine a fresh model of every arm, and keep those that can be trained."""
        kept = []
        for arm in arms:
            seen = look(self.training, arm)
            predicted = (
                sum(each.predicted for each in arm) if all(math.isfinite(e.predicted) for e in arm) else math.nan
            )
            self.attempts[arm] = Attempt(arm, "examined", (), seen.error, seen.decades, predicted)
            if not seen.error:
                kept.append(arm)
        return kept

    def confirm(self, arms: Sequence[Arm]) -> list[Comparison]:
        """Compare the finalists with the control on fresh seeds; this, and nothing else, is the result."""
        seeds = [FIRST_FRESH_SEED + i for i in range(self.budget.seeds)]
        self.tell(f"{len(arms)} finalist{'s' if len(arms) > 1 else ''} against the training as it is, on fresh seeds")
        made = self.trials.make([Cut(arm, seed, self.budget.full) for arm in ((), *arms) for seed in seeds], math.inf)
        for arm in arms:
            self._note(arm, "confirmed", [made[Cut(arm, seed, self.budget.full)] for seed in seeds])
        found = [compared(arm, seeds, self.budget.full, made, len(arms)) for arm in arms]
        return sorted(
            found, key=lambda each: (each.verdict is not Verdict.HELPS, -each.effect, *simplicity(each.remedies))
        )


def compared(arm: Arm, seeds: Sequence[int], steps: int, made: Mapping[Cut, Outcome], tests: int) -> Comparison:
    """Compare an arm's trials with the control's; untested unless all of them came in with a finite score."""
    pairs = [(made[Cut((), seed, steps)].trial, made[Cut(arm, seed, steps)].trial) for seed in seeds]
    whole = [(c, t) for c, t in pairs if c is not None and t is not None and math.isfinite(c.score + t.score)]
    if len(whole) < len(seeds):
        return compare(arm, [], [], [], math.nan)
    start = float(np.mean([c.start for c, _ in whole]))
    seconds = (float(np.median([c.seconds for c, _ in whole])), float(np.median([t.seconds for _, t in whole])))
    return compare(arm, seeds, [c.score for c, _ in whole], [t.score for _, t in whole], start, tests, seconds)
