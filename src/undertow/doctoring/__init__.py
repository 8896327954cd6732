"""`doctor`: from what is wrong with a training to a remedy that was seen to help."""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.doctoring.arms import first_arms, second_arms
from undertow.doctoring.budget import LONGEST, Budget, seconds_of
from undertow.doctoring.comparison import Comparison, Verdict, compare
from undertow.doctoring.control import Control, observed
from undertow.doctoring.course import Course, compared
from undertow.doctoring.screening import look
from undertow.doctoring.treatment import HEALTHY, NOTHING_HELPS, REPAIRED, Attempt, Treatment
from undertow.doctoring.trials import Arm, Cut, Trials
from undertow.remedies import Level, Remedy, apply, prescribe
from undertow.training import Training

__all__ = ["Attempt", "Comparison", "Treatment", "Verdict", "doctor", "verify"]

LEARNED = 0.9
"""Part of the way from an untrained model to the best arm that a training must have gone to be called healthy."""

FELL = 0.1
"""Part of its first value that a loss must have fallen by, for a training to have learned anything."""

FINALISTS = 2


def doctor(
    training: Training,
    budget: str | float = "5m",
    *,
    seeds: int = 5,
    levels: str = "ABCD",
    processes: int | None = None,
    store: str | Path | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Treatment:
    """Find out what is wrong with a training, try remedies fairly, and hand over what was seen to help.

    The training as it is is the control of every comparison. Remedies race on shared seeds; the best are compared with
    the control on fresh ones, and only that is reported as a result. Your own objects are never changed.

    Args:
        training: how you train.
        budget: how long it may take, in seconds or as ``"90s"``, ``"5m"``, ``"1h"``; about that.
        seeds: of the final comparison.
        levels: of remedies that may be tried (see `undertow.remedies.Level`). Level D needs a ``score``.
        processes: how many trials run at a time; one for each processor unless told otherwise, 0 for none but this one.
        store: a file to keep trials in; the same call goes on from there after an interruption.
        tell: called with a line about what is going on, now and then.

    Raises:
        TypeError, ValueError: the training can't be run as it is; the message says what to write instead.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> training = Training(
        ...     model=lambda: nn.Linear(4, 1),
        ...     batches=[(x, x.sum(1, keepdim=True))],
        ...     loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        ...     optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=1e-6),
        ...     steps=60,
        ... )
        >>> treatment = doctor(training, budget=20, seeds=3, levels="A", processes=0)
        >>> treatment.verdict
        'repaired'
    """
    began, seconds = time.monotonic(), seconds_of(budget)
    if training.score is None:
        levels = levels.replace(Level.D, "")
    seen = look(training)
    control = observed(training, seconds)
    diagnosis = _with_findings(seen.diagnosis, control)
    with ExitStack() as stack:
        if store is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory()), "trials.sweep")
        trials = stack.enter_context(Trials(training, Path(store), processes))
        plan = Budget(seconds, control.step_seconds, trials.size, seeds, training.steps)
        course = Course(training, trials, plan, levels, began + 0.8 * seconds, tell)
        finalists = _finalists(course, prescribe(diagnosis, levels))
        comparisons = course.confirm(finalists)
        treatment = _treatment(course, comparisons, control)
    treatment.diagnosis, treatment.findings = diagnosis, diagnosis.findings
    treatment.notes = [*control.notes, *([trials.alone] if trials.alone else []), *([seen.error] if seen.error else [])]
    treatment.after = look(training, treatment.remedies).diagnosis if treatment.remedies else None
    treatment.seconds = time.monotonic() - began
    return treatment


def _with_findings(diagnosis: Diagnosis | None, control: Control) -> Diagnosis:
    """Put what was seen at the start and what was seen through time together, each code once."""
    start = diagnosis or Diagnosis(control.run)
    known = {finding.code for finding in start.findings}
    later = [finding for finding in control.findings if finding.code not in known]
    found = sorted([*start.findings, *later], key=lambda each: -each.severity.rank)
    return Diagnosis(start.run, start.step, tuple(found))


def _finalists(course: Course, prescribed: Sequence[Remedy]) -> list[Arm]:
    plan = course.budget
    arms = course.look(first_arms(prescribed)[: plan.arms(plan.short)])
    best = course.race(arms, plan.short)
    if not best or time.monotonic() > course.deadline:
        return best[:FINALISTS]
    second = second_arms(best[: max(3, plan.arms(plan.full) // 2)])
    again = course.race([arm for arm in second if arm in course.attempts or course.look([arm])], plan.full)
    return (again or best)[:FINALISTS]


def _treatment(course: Course, comparisons: list[Comparison], control: Control) -> Treatment:
    helped = [each for each in comparisons if each.verdict is Verdict.HELPS]
    verdict = _verdict(comparisons, helped, control)
    remedies = helped[0].remedies if verdict == REPAIRED else ()
    return Treatment(
        verdict,
        remedies,
        apply(remedies, course.training),
        comparisons,
        None,
        attempts=list(course.attempts.values()),
        steps=course.budget.full,
        seeds=course.budget.seeds,
    )


def _verdict(comparisons: Sequence[Comparison], helped: Sequence[Comparison], control: Control) -> str:
    """A training that has gone nearly all the way that anything went is healthy, if it has gone any way at all."""
    scored = [each for each in comparisons if each.seeds]
    gained = max((float(np.mean(each.control)) - each.start for each in scored), default=math.nan)
    best = max((float(np.mean(each.treated)) - each.start for each in helped), default=gained)
    if control.fell >= FELL and gained > 0 and gained >= LEARNED * best:
        return HEALTHY
    return REPAIRED if helped else NOTHING_HELPS


def verify(
    remedies: Sequence[Remedy],
    training: Training | Callable[[Remedy | None, int], float],
    seeds: Sequence[int] = range(5),
    *,
    processes: int | None = None,
) -> list[Comparison]:
    """Compare each remedy with none, on the same seeds.

    Args:
        remedies: as `undertow.prescribe` returns them.
        training: a `Training`; or, for a loop of your own, ``train(remedy, seed) -> score``, called with None for the
            control.
        seeds: of the pairs.
        processes: how many trials run at a time; 0 for none but this process. A loop of your own always runs here.

    Returns:
        One comparison a remedy, in their order, corrected for how many there are.

    Example:
        >>> found = verify([Remedy("UR103")], lambda remedy, seed: (0.9 if remedy else 0.1) + seed / 100, range(3))
        >>> str(found[0].verdict)
        'HELPS'
    """
    if isinstance(training, Training):
        return _verified(remedies, training, list(seeds), processes)
    control = [float(training(None, seed)) for seed in seeds]
    tried = [(each, [float(training(each, seed)) for seed in seeds]) for each in remedies]
    return [compare((each,), list(seeds), control, scores, 0.0, len(remedies)) for each, scores in tried]


def _verified(
    remedies: Sequence[Remedy], training: Training, seeds: Sequence[int], processes: int | None
) -> list[Comparison]:
    steps = training.steps or LONGEST
    arms: list[Arm] = [(each,) for each in remedies]
    with tempfile.TemporaryDirectory() as folder, Trials(training, Path(folder, "trials.sweep"), processes) as trials:
        made = trials.make([Cut(arm, seed, steps) for arm in ((), *arms) for seed in seeds])
    return [compared(arm, seeds, steps, made, len(arms)) for arm in arms]
