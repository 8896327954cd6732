"""The training as it is, watched: what it costs, whether it can be repeated, what is found through time."""

import hashlib
import math
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from undertow import rules
from undertow import training as training_module
from undertow.doctoring.budget import TooLittleTimeError
from undertow.record import Finding, Run
from undertow.store import open_run
from undertow.training import Training, Trial, random_numbers_kept
from undertow.watching import watch

PROBE = 12
"""Steps that tell what a step costs, and whether two runs with one seed agree."""

FEWEST_STEPS = 300
"""Steps that a budget must have room for: of a few arms with a few seeds."""

WATCHED = 0.08
"""Part of the budget that the watched training may take."""

MOST = 400


@dataclass(frozen=True)
class Control:
    """Hold what a watched training of the control showed.

    Attributes:
        trial: the training.
        run: what was recorded.
        findings: through time.
        step_seconds, score_seconds: that a step takes, unwatched, and a scoring.
        fingerprint: of its first steps; the same for the same training.
        notes: what a reader has to know.
    """

    trial: Trial
    run: Run
    findings: Sequence[Finding]
    step_seconds: float
    score_seconds: float
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def fell(self) -> float:
        """Part of its first value that the loss fell by; negative where it rose, nan where it was lost."""
        losses = self.trial.losses
        if len(losses) < 4 or not np.isfinite(losses).all():
            return math.nan
        start, end = float(np.median(losses[:3])), float(np.median(losses[-max(3, len(losses) // 10) :]))
        return (start - end) / abs(start) if start else 0.0


def observed(training: Training, seconds: float, seed: int = 0) -> Control:
    """Train the control: twice for a few steps, then watched, as long as a part of the budget allows.

    Raises:
        ValueError: there is nothing to train, a fresh model isn't fresh, the untrained model's score is not a number,
            or the budget is too small for a step.
        RuntimeError: the training raised an exception of its own.
    """
    _check_models(training)
    first, second = _run(training, seed, PROBE), _run(training, seed, PROBE)
    if not math.isfinite(first.start):
        raise ValueError(f"the score of the untrained model is {first.start}: return a finite number, larger is better")
    each = max(min(t.seconds / max(len(t.losses), 1) for t in (first, second)), 1e-6)
    if each * FEWEST_STEPS > seconds:
        raise TooLittleTimeError(
            f"a step takes {each:.2g} s, so that {seconds:g} s of budget have room for {seconds / each:.0f} steps in "
            f"all, and fair trials need more: give at least budget={math.ceil(each * 4 * FEWEST_STEPS)}"
        )
    steps = int(min(training.steps or MOST, MOST, max(PROBE * 3, WATCHED * seconds / each)))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "control.undertow"))
        trial = _run(training, seed, steps, partial(watch, path=path, every=max(1, steps // 40)))
        run = open_run(path)
        findings = rules.over_time(run)
    scoring = min(first.scoring, second.scoring)
    return Control(trial, run, findings, each, scoring, _fingerprint(first), _notes(first, second))


def _check_models(training: Training) -> None:
    with _explained("model()"), random_numbers_kept():
        one, other = training.model(), training.model()
    if not any(p.requires_grad for p in one.parameters()):
        raise ValueError("the model has no parameter that could be trained: none, or all with requires_grad=False")
    if {id(p) for p in one.parameters()} & {id(p) for p in other.parameters()}:
        raise ValueError(
            "model() returned the same parameters twice, so that every trial would go on where the last one ended: "
            "make a new model in it, as in model=lambda: Net()"
        )


def _run(training: Training, seed: int, steps: int, watcher: Callable[..., Any] | None = None) -> Trial:
    with _explained("the training as it is"):
        return training.run(seed, steps, scored=0, watcher=watcher)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say whose exception it is: what `Training` itself says is clear enough."""
    try:
        yield
    except Exception as error:
        if _raised_by_us(error):
            raise
        place = _users_own(traceback.extract_tb(error.__traceback__))
        raise RuntimeError(
            f"{what} fails: {type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
        ) from error


def _users_own(frames: Sequence[traceback.FrameSummary]) -> traceback.FrameSummary:
    """Return the innermost frame that is neither torch's nor ours; the innermost of all if there is none."""
    libraries = [Path(module.__file__ or "").parent for module in (torch, training_module)]
    own = [each for each in frames if not any(Path(each.filename).is_relative_to(place) for place in libraries)]
    return (own or frames)[-1]


def _raised_by_us(error: BaseException) -> bool:
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename) == Path(training_module.__file__)


def _fingerprint(trial: Trial) -> str:
    """Return what a training did in its first steps, as a few letters."""
    return hashlib.sha256(trial.losses.tobytes() + repr(trial.start).encode()).hexdigest()[:12]


def _notes(first: Trial, second: Trial) -> tuple[str, ...]:
    same = len(first.losses) == len(second.losses) and np.array_equal(first.losses, second.losses, equal_nan=True)
    if same:
        return ()
    return (
        "Two runs with one seed differ: something draws random numbers that torch.manual_seed doesn't reach, or an "
        "operation isn't deterministic. Intervals hold all the same; they are wider.",
    )
