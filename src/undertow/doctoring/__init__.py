"""`doctor`: from what is wrong with a training to a remedy that was seen to help."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from undertow.diagnosis import Diagnosis
from undertow.doctoring.budget import LONGEST, Budget, seconds_of
from undertow.doctoring.comparison import Comparison, Verdict, compare, corrected
from undertow.doctoring.control import Control, observed
from undertow.doctoring.course import Course, confirmed
from undertow.doctoring.judging import judged
from undertow.doctoring.screening import look
from undertow.doctoring.treatment import AFTER, BEFORE, HEALTHY, NOTHING_HELPS, Attempt, Treatment, check_format
from undertow.doctoring.trials import Arm, Cut, Trials
from undertow.record import Severity
from undertow.remedies import Level, Remedy, apply, prescribe
from undertow.remedies.facts import with_facts
from undertow.rules.judging import in_order
from undertow.training import Training

__all__ = ["Attempt", "Comparison", "Treatment", "Verdict", "doctor", "verify"]

RACED = 0.7
"""Part of the budget after which no round of the race begins."""

WORTH_A_PROCESS = 0.1
"""Seconds of a full trial under which other processes take longer to start than they save."""


def doctor(
    training: Training,
    budget: str | float = "5m",
    *,
    seeds: int | Sequence[int] = 5,
    levels: str = "ABCD",
    processes: int | None = None,
    store: str | Path | None = None,
    ray: str | None = None,
    live: str | Path | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Treatment:
    """Find out what is wrong with a training, try remedies fairly, and hand over what was seen to help.

    The training as it is is the control of every comparison. Remedies race on shared seeds; the best are compared with
    the control on fresh ones, and only that is reported as a result. Your own objects are never changed.

    Args:
        training: how you train.
        budget: how long it may take, in seconds or as ``"90s"``, ``"5m"``, ``"1h"``; about that.
        seeds: of the final comparison: how many, or which.
        levels: of remedies that may be tried (see `undertow.remedies.Level`). Level D needs a ``score``.
        processes: how many trials run at a time; one for each processor unless told otherwise, 0 for none but this one.
        store: a file to keep trials in; the same call goes on from there after an interruption.
        ray: address of a Ray cluster to make trials on in place of processes, "auto" for the one running here.
        live: a file, ``NAME.treatment.json``, that holds what is known so far, written anew as it goes;
            ``undertow serve`` shows those of its folder as pages that follow.
        tell: called with a line about what is going on, now and then.

    Ctrl-C ends it with what is known until then: nothing is confirmed, and the leader of the race is named.

    Raises:
        TypeError, ValueError: the training can't be run as it is; the message says what to write instead.
        RuntimeError: the training as it is raised an exception of its own.

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
        >>> treatment = doctor(training, budget=600, seeds=3, levels="A", processes=0)
        >>> treatment.verdict
        'repaired'
    """
    began, seconds = time.monotonic(), seconds_of(budget)
    if (seeds if isinstance(seeds, int) else len(seeds)) < 2:
        raise ValueError(f"seeds is {seeds!r}: a comparison needs two pairs at least; five are usual")
    if training.score is None:
        levels = levels.replace(Level.D, "")
    tell("the training as it is, watched")
    control = observed(training, seconds)
    seen = look(training)
    diagnosis = with_facts(_with_findings(seen.diagnosis, control), training, control.fell)
    prescribed = prescribe(diagnosis, levels)
    with ExitStack() as stack:
        if store is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory()), "trials.sweep")
        trials = stack.enter_context(Trials(training, Path(store), processes, control.fingerprint, ray, tell))
        chosen = [] if isinstance(seeds, int) else list(seeds)
        many = seeds if isinstance(seeds, int) else len(chosen)
        plan = _planned(trials, control, seconds, many, training.steps)
        found = any(each.severity is not Severity.NOTE for each in diagnosis.findings)
        course = Course(
            training, trials, plan, began + RACED * seconds, tell, chosen, levels,
            stands_still=any(each.code == "UT704" and each.severity is Severity.ERROR for each in control.findings),
            unfinished=not found and plan.full < (training.steps or 0),
        )  # fmt: skip
        if live is not None:
            check_format(Path(live))
            course.tell = trials.tell = _Live(course, diagnosis, Path(live), began, tell)
        treatment = _treated(course, prescribed)
    treatment.diagnosis, treatment.findings = diagnosis, diagnosis.findings
    treatment.by_hand = [each for each in prescribed if each.kind.by_hand or str(each.level) not in levels]
    told = [trials.alone, f"The untrained model couldn't be examined: {seen.error}" if seen.error else ""]
    treatment.notes = [*control.notes, *treatment.notes, *filter(None, told)]
    treatment.after = look(training, treatment.remedies).diagnosis if treatment.remedies else None
    treatment.seconds = time.monotonic() - began
    if live is not None:
        treatment.save(live)
    return treatment


@dataclass(frozen=True)
class _Live:
    """Writes what is known so far whenever something is told."""

    course: Course
    diagnosis: Diagnosis
    path: Path
    began: float
    tell: Callable[[str], object]

    def __call__(self, line: str) -> None:
        self.tell(line)
        known = _answer(self.course, NOTHING_HELPS, (), [])
        known.diagnosis, known.findings, known.running = self.diagnosis, self.diagnosis.findings, line
        known.notes = [f"Now: {line}.", *known.notes]
        known.seconds = time.monotonic() - self.began
        known.save(self.path)


def _planned(trials: Trials, control: Control, seconds: float, seeds: int, steps: int | None) -> Budget:
    """Return what there is time for; where trials were begun before, what there was then, so that theirs are used."""
    known = trials.planned()
    plan = Budget(seconds, control.step_seconds, 1, seeds, steps, control.score_seconds)
    if trials.processes is None and trials.ray is None and plan.cost(plan.full) < WORTH_A_PROCESS:
        trials.processes = 0
    plan = replace(plan, workers=trials.size)
    if known and (known["seconds"], known["seeds"], known["steps"]) == (seconds, seeds, steps):
        return Budget(**known)
    trials.plan(asdict(plan))
    return plan


def _treated(course: Course, prescribed: Sequence[Remedy]) -> Treatment:
    """Race, confirm and judge; what was interrupted says what there was until then."""
    try:
        return _treatment(course, course.confirm(course.finalists(prescribed)))
    except KeyboardInterrupt:
        treatment = _answer(course, NOTHING_HELPS, (), [])
        best = course.leading()
        names = " + ".join(f"{each.code} {each.name}" for each in best)
        led = f" Best in the race until then: {names}." if best else ""
        treatment.notes = [f"Interrupted before anything was confirmed.{led} With store=... the same call goes on."]
        treatment.interrupted = True
        return treatment


def _with_findings(diagnosis: Diagnosis | None, control: Control) -> Diagnosis:
    """Put what was seen at the start and what was seen through time together, each code once."""
    start = diagnosis or Diagnosis(control.run)
    known = {finding.code for finding in start.findings}
    later = [finding for finding in control.findings if finding.code not in known]
    return Diagnosis(start.run, start.step, tuple(in_order([*start.findings, *later])))


def _treatment(course: Course, comparisons: list[Comparison]) -> Treatment:
    verdict, best = judged(comparisons, cache(course.blind), course.stands_still, course.unfinished)
    if verdict == HEALTHY and course.unfinished:
        steps, all_steps = course.budget.full, course.training.steps
        course.notes.append(f"Trials had {steps} of its {all_steps} steps: what is faster there may end no better.")
    return _answer(course, verdict, _written(best.remedies, course.training) if best else (), comparisons)


def _answer(course: Course, verdict: str, remedies: tuple[Remedy, ...], comparisons: list[Comparison]) -> Treatment:
    best: Arm = remedies or (comparisons[0].remedies if comparisons else ())
    curves = {BEFORE: course.confirmed.get((), []), AFTER: course.confirmed.get(best, []) if best else []}
    return Treatment(
        verdict,
        remedies,
        apply(remedies, course.training),
        comparisons,
        attempts=list(course.attempts.values()),
        curves=curves,
        notes=list(course.notes),
        steps=course.budget.full,
        seeds=course.budget.seeds,
    )


def _written(remedies: Sequence[Remedy], training: Training) -> tuple[Remedy, ...]:
    """Write each remedy's lines for the model that the ones before it have made."""
    written = []
    for each in remedies:
        written.append(each.written_for(training))
        training = apply(each, training)
    return tuple(written)


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
    return corrected([compare((each,), list(seeds), control, scores, 0.0) for each, scores in tried])


def _verified(
    remedies: Sequence[Remedy], training: Training, seeds: Sequence[int], processes: int | None
) -> list[Comparison]:
    steps = training.steps or LONGEST
    arms: list[Arm] = [(each,) for each in remedies]
    with tempfile.TemporaryDirectory() as folder, Trials(training, Path(folder, "trials.sweep"), processes) as trials:
        made = trials.make([Cut(arm, seed, steps) for arm in ((), *arms) for seed in seeds])
    return confirmed(arms, seeds, steps, made)
