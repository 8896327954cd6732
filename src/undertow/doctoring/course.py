"""The doctor's way: diagnose, prescribe, look, race, confirm."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice

import numpy as np

from undertow.doctoring.arms import apart, first_arms, second_arms, simplicity, third_arms
from undertow.doctoring.budget import FINALISTS, FIRST, RACE_SEEDS, SECOND, THIRD, Budget
from undertow.doctoring.comparison import MATTERS, Comparison, Verdict, compare, corrected
from undertow.doctoring.screening import look
from undertow.doctoring.treatment import Attempt
from undertow.doctoring.trials import Arm, Cut, TrialOutcome, Trials
from undertow.remedies import Level, Remedy
from undertow.training import Training, Trial

FIRST_FRESH_SEED = 1_000
"""Seeds of the confirmation begin here: the race's winner is flattered by the seeds that it won on."""

TOUCH = 0.02
"""Part of the way within which two arms do equally well, and the simpler one is preferred."""

KEPT = 6
"""Arms that are run on all seeds of a round, at least."""

FIRST_LOOK = 0.6
"""Part of the error that the first look at the confirmation may make; the rest is for a second, on twice as many seeds,
which there is where seeds differ: one that trains all the same, say, among those that don't."""

LOOKING = 0.12
"""Part of the budget that examinations of fresh models may take."""


@dataclass
class Course:
    """One treatment under way.

    Args:
        training: as the user has it.
        trials: makes the trials.
        budget: says how long they may be.
        deadline: of the race, of `time.monotonic`.
        tell: called with a line now and then.
        fresh_seeds: of the confirmation, if not those from `FIRST_FRESH_SEED` on; the race avoids them.
        levels: of the remedies that may be tried, those of partners and of longer and shorter steps among them.
        stands_still: whether the loss was seen not to fall.
        unfinished: whether nothing was found in the training, and trials have fewer steps than it has.

    Attributes:
        attempts: what was tried, and how far it came.
        confirmed: trials of the confirmation, by arm.
        notes: what a reader has to know.
        start: score of an untrained model.
        more_seeds: fresh ones for a second look; none where the user said which seeds.
    """

    training: Training
    trials: Trials
    budget: Budget
    deadline: float
    tell: Callable[[str], object] = lambda _: None
    fresh_seeds: Sequence[int] = ()
    levels: str = "".join(Level)
    stands_still: bool = False
    unfinished: bool = False
    attempts: dict[Arm, Attempt] = field(default_factory=dict)
    confirmed: dict[Arm, list[Trial]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    start: float = math.inf
    more_seeds: Sequence[int] = ()

    def __post_init__(self) -> None:
        if not self.fresh_seeds:
            every = [FIRST_FRESH_SEED + i for i in range(2 * self.budget.seeds)]
            self.fresh_seeds, self.more_seeds = every[: self.budget.seeds], every[self.budget.seeds :]

    def finalists(self, prescribed: Sequence[Remedy]) -> list[Arm]:
        """Race what was prescribed in rounds, and return the best arms."""
        full = self.budget.full
        arms = self.look(self._permitted(first_arms(prescribed)))
        short = self.budget.short(len(arms))
        best = self.race(arms[: self.budget.arms(short, FIRST)], short, 0)
        if not best and arms and time.monotonic() > self.deadline:
            self.notes.append("There was no time for a race: what most speaks for was tried at once. Give more budget.")
            return arms[:FINALISTS]
        for number, (following, part) in enumerate(((second_arms, SECOND), (third_arms, THIRD)), start=1):
            if not best or time.monotonic() > self.deadline:
                break
            again = self.look(self._permitted(following(best)), quietly=True)
            best = self.race(again[: self.budget.arms(full, part)], full, number) or best
        return apart(best)[:FINALISTS]

    def _permitted(self, arms: Sequence[Arm]) -> list[Arm]:
        return [arm for arm in arms if arm and all(each.level in self.levels for each in arm)]

    def race(self, arms: Sequence[Arm], steps: int, number: int) -> list[Arm]:
        """Run arms on the shared seeds of a round, the worse half on the first of them only; return the best first."""
        others = (seed for seed in count() if seed not in self.fresh_seeds)
        seeds = list(islice(others, number * RACE_SEEDS, (number + 1) * RACE_SEEDS))
        self.tell(f"{len(arms)} remedies and pairs race over {steps} steps")
        left = list(arms)
        for many in range(1, len(seeds) + 1):
            cuts = [Cut(arm, seed, steps) for arm in left for seed in seeds[:many]]
            made = self.trials.make(cuts, self.deadline)
            for arm in left:
                self._note(arm, "raced", [made.get(Cut(arm, seed, steps)) for seed in seeds[:many]])
            whole = [arm for arm in left if self.attempts[arm].scores]
            ranked = self._ranked(unlike(whole, {arm: course_of(arm, seeds[:many], steps, made) for arm in whole}))
            left = ranked[: max(KEPT, (len(ranked) + 1) // 2)]
        return ranked

    def _ranked(self, arms: Sequence[Arm]) -> list[Arm]:
        """Sort by the worse score; of those that are within a touch of the best, the simplest is the best."""
        worst = {arm: min(self.attempts[arm].scores) for arm in arms}
        if not worst:
            return []
        reach = TOUCH * max(0.0, max(worst.values()) - self.start)
        first = min((arm for arm in arms if worst[arm] >= max(worst.values()) - reach), key=simplicity)
        return [first, *sorted((arm for arm in arms if arm != first), key=lambda arm: -worst[arm])]

    def _note(self, arm: Arm, stage: str, outcomes: Sequence[TrialOutcome | None]) -> None:
        errors = [outcome.error for outcome in outcomes if outcome is not None and outcome.error]
        scores = [outcome.trial.score for outcome in outcomes if outcome is not None and outcome.trial is not None]
        self.start = next((o.trial.start for o in outcomes if o is not None and o.trial is not None), self.start)
        whole = tuple(scores) if len(scores) == len(outcomes) and np.isfinite(scores).all() else ()
        error = errors[0] if errors else "" if whole else "there was no time for it, or its score is not a number"
        known = self.attempts.get(arm, Attempt(arm, stage))
        self.attempts[arm] = replace(known, stage=stage, scores=whole, error=error)

    def look(self, arms: Sequence[Arm], quietly: bool = False) -> list[Arm]:
        """Examine a fresh model of every arm that changes one, and keep those that can be trained."""
        if not quietly:
            self.tell(f"{len(arms)} remedies and pairs are examined on fresh models")
        until = time.monotonic() + LOOKING * self.budget.seconds
        return [arm for arm in arms if self._fits(arm, until)]

    def _fits(self, arm: Arm, until: float) -> bool:
        promised = [each.predicted for each in arm]
        attempt = Attempt(arm, "prescribed", predicted=sum(promised) if np.isfinite(promised).all() else math.nan)
        surgery = tuple(each for each in arm if each.level is not Level.A)
        known = self.attempts.get(surgery)
        if surgery and known is not None and known.stage != "prescribed":
            attempt = replace(attempt, stage="examined", error=known.error, decades=known.decades)
        elif surgery and time.monotonic() < until:
            seen = look(self.training, arm)
            attempt = replace(attempt, stage="examined", error=seen.error, decades=seen.decades)
        self.attempts.setdefault(arm, attempt)
        return not attempt.error

    def confirm(self, arms: Sequence[Arm]) -> list[Comparison]:
        """Compare the finalists with the control on fresh seeds; this, and nothing else, is the result."""
        self.tell(f"{len(arms)} finalist{'s' if len(arms) > 1 else ''} against the training as it is, on fresh seeds")
        found = self._confirmed(arms, self.fresh_seeds, FIRST_LOOK if self.more_seeds else 1.0)
        unsure = [each for each in found if _undecided(each)]
        if unsure and self.more_seeds and not any(each.verdict is Verdict.HELPS for each in found):
            best = max(unsure, key=lambda each: each.effect).remedies
            self.tell("seeds differ: the best is compared on as many more")
            again = self._confirmed([best], [*self.fresh_seeds, *self.more_seeds], 1 - FIRST_LOOK)
            found = [*again, *(each for each in found if each.remedies != best)]
        best_effect = max((each.effect for each in found if each.seeds), default=0.0)
        return sorted(found, key=lambda each: preference(each, best_effect))

    def _confirmed(self, arms: Sequence[Arm], seeds: Sequence[int], spent: float) -> list[Comparison]:
        steps = self.budget.full
        made = self.trials.make([Cut(arm, seed, steps) for arm in ((), *arms) for seed in seeds], math.inf)
        for arm in arms:
            self._note(arm, "confirmed", [made[Cut(arm, seed, steps)] for seed in seeds])
        for arm in ((), *arms):
            trials = [made[Cut(arm, seed, steps)].trial for seed in seeds]
            self.confirmed[arm] = [trial for trial in trials if trial is not None]
        broke = [made[Cut((), seed, steps)].error for seed in seeds if made[Cut((), seed, steps)].error]
        if broke:
            self.notes.append(f"The training as it is broke off in {len(broke)} of {len(seeds)} seeds: {broke[0]}")
        return confirmed(arms, seeds, steps, made, spent)

    def leading(self) -> Arm:
        """Return the arm that leads the race; none if there was none."""
        raced = [arm for arm, attempt in self.attempts.items() if attempt.stage == "raced" and attempt.scores]
        return self._ranked(raced)[0] if raced else ()

    def blind(self, arm: Arm) -> list[float]:
        """Return scores of an arm that is trained with its targets mixed up; none where that can't be done."""
        cuts = [Cut(arm, seed, self.budget.full, blind=True) for seed in self.fresh_seeds]
        trials = [outcome.trial for outcome in self.trials.make(cuts, math.inf).values()]
        return [trial.score for trial in trials if trial is not None and math.isfinite(trial.score)]


def course_of(arm: Arm, seeds: Sequence[int], steps: int, made: Mapping[Cut, TrialOutcome]) -> bytes:
    """Return losses and scores of an arm's trials: equal for arms that do the same.

    Losses alone don't tell: what is taken away from the loss only, or from the model, makes the same losses of models
    that a score sees with another output.
    """
    trials = [made[Cut(arm, seed, steps)].trial for seed in seeds]
    return b"".join(trial.losses.tobytes() + repr(trial.scores).encode() for trial in trials if trial is not None)


def unlike(arms: Sequence[Arm], courses: Mapping[Arm, bytes]) -> list[Arm]:
    """Leave out arms that did the same as a simpler one, step by step: a remedy in them does nothing.

    Args:
        arms: in any order, which they keep.
        courses: losses and scores of their trials, as bytes.
    """
    kept: dict[bytes, Arm] = {}
    for arm in sorted(arms, key=simplicity):
        kept.setdefault(courses[arm], arm)
    return [arm for arm in arms if kept[courses[arm]] == arm]


def _undecided(comparison: Comparison) -> bool:
    """Tell whether an effect would matter and was not seen surely."""
    gained = float(np.mean(comparison.treated)) - comparison.start if comparison.seeds else 0.0
    return comparison.verdict is Verdict.NO_EFFECT and comparison.effect > max(0.0, 2 * MATTERS * gained)


def preference(comparison: Comparison, best: float) -> tuple[bool, bool, tuple[int, int], float]:
    """Return what to sort by: of remedies that help about as much and are as simple, the one that is surer to."""
    near = bool(comparison.seeds) and comparison.effect >= (1 - TOUCH) * best
    return comparison.verdict is not Verdict.HELPS, not near, simplicity(comparison.remedies), -comparison.interval[0]


def confirmed(
    arms: Sequence[Arm], seeds: Sequence[int], steps: int, made: Mapping[Cut, TrialOutcome], spent: float = 1.0
) -> list[Comparison]:
    """Compare several arms with the control, corrected for how many they are (Holm 1979)."""
    return corrected([compared(arm, seeds, steps, made) for arm in arms], spent)


def compared(arm: Arm, seeds: Sequence[int], steps: int, made: Mapping[Cut, TrialOutcome]) -> Comparison:
    """Compare an arm's trials with the control's; untested unless all of them came in with a finite score."""
    pairs = [(made[Cut((), seed, steps)].trial, made[Cut(arm, seed, steps)].trial) for seed in seeds]
    whole = [(c, t) for c, t in pairs if c is not None and t is not None and math.isfinite(c.score + t.score)]
    if len(whole) < len(seeds):
        return compare(arm, [], [], [], math.nan)
    start = float(np.mean([c.start for c, _ in whole]))
    seconds = (float(np.median([c.seconds for c, _ in whole])), float(np.median([t.seconds for _, t in whole])))
    return compare(arm, seeds, [c.score for c, _ in whole], [t.score for _, t in whole], start, seconds)
