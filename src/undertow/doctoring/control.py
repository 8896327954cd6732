"""The training as it is, watched: what it costs, whether it can be repeated, what is found through time."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from undertow import rules
from undertow.record import Finding, Run
from undertow.store import open_run
from undertow.training import Training, Trial
from undertow.watching import watch

PROBE = 12
"""Steps that tell what a step costs, and whether two runs with one seed agree."""

WATCHED = 0.08
"""Part of the budget that the watched training may take."""

MOST = 400


@dataclass(frozen=True)
class Control:
    """What a watched training of the control showed.

    Attributes:
        trial: the training.
        run: what was recorded.
        findings: through time.
        step_seconds: that a step takes, unwatched.
        notes: what a reader has to know.
    """

    trial: Trial
    run: Run
    findings: Sequence[Finding]
    step_seconds: float
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
        ValueError: the untrained model's score is not a number, or the budget is too small for a step.
    """
    first, second = training.run(seed, PROBE, scored=0), training.run(seed, PROBE, scored=0)
    if not math.isfinite(first.start):
        raise ValueError(f"the score of the untrained model is {first.start}: return a finite number, larger is better")
    each = max(second.seconds / max(len(second.losses), 1), 1e-6)
    if each * PROBE * 10 > seconds:
        raise ValueError(
            f"a step takes {each:.2g} s, so {seconds:g} s of budget have room for few more than {seconds / each:.0f} "
            f"steps in all: give at least budget={each * PROBE * 40:.0f}"
        )
    steps = int(min(training.steps or MOST, MOST, max(PROBE * 3, WATCHED * seconds / each)))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "control.undertow"))
        trial = training.run(seed, steps, scored=0, watcher=partial(watch, path=path, every=max(1, steps // 40)))
        run = open_run(path)
        findings = rules.over_time(run)
    return Control(trial, run, findings, each, _notes(first, second))


def _notes(first: Trial, second: Trial) -> tuple[str, ...]:
    same = len(first.losses) == len(second.losses) and np.array_equal(first.losses, second.losses, equal_nan=True)
    if same:
        return ()
    return (
        "Two runs with one seed differ: something draws random numbers that torch.manual_seed doesn't reach, or an "
        "operation isn't deterministic. Intervals hold all the same; they are wider.",
    )
