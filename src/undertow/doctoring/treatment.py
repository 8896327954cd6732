"""`Treatment`: what was wrong, what was tried, what helped and by how much."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.doctoring.comparison import Comparison, Verdict
from undertow.doctoring.trials import Arm
from undertow.files import write_whole
from undertow.jsonable import jsonable
from undertow.record import Finding
from undertow.remedies import Remedy
from undertow.training import Training, Trial

HEALTHY, REPAIRED, NOTHING_HELPS = "healthy", "repaired", "nothing helps"

BEFORE, AFTER = "as it was", "with the remedies"


@dataclass(frozen=True)
class Attempt:
    """One arm and how far it came.

    Attributes:
        arm: its remedies.
        stage: "prescribed", "examined", "raced" or "confirmed".
        scores: of its trials in the last round that it was in.
        error: why it went no further, empty if it was merely slower than others.
        decades: by which the gradient changes from the loss to the front, measured on a fresh model.
        predicted: the same, as the remedies promised; nan if they promise nothing.
    """

    arm: Arm
    stage: str
    scores: tuple[float, ...] = ()
    error: str = ""
    decades: float = float("nan")
    predicted: float = float("nan")


@dataclass(eq=False)
class Treatment:
    """Hold what the doctor found out about a training; ``print`` it, or ``save`` it as a page.

    Attributes:
        verdict: "healthy", "repaired" or "nothing helps".
        remedies: those that were confirmed to help; () if none was.
        training: the training with them applied.
        comparisons: of the confirmation, the best first: nothing else is a result.
        diagnosis: of the model at its start.
        findings: of the start and of a watched training of the control.
        attempts: everything that was tried.
        after: diagnosis of the start with the remedies.
        by_hand: remedies that fit and that only a person can apply.
        curves: trials of the confirmation: of the control, and of the best arm.
        notes: what a reader has to know to judge it.
        steps, seeds: of the confirmation's trials.
        seconds: that it all took.
        interrupted: whether it was stopped before it was finished; then nothing is confirmed.
        running: what is going on, while it isn't finished; empty when it is.
    """

    verdict: str
    remedies: tuple[Remedy, ...]
    training: Training
    comparisons: list[Comparison]
    diagnosis: Diagnosis | None = None
    findings: Sequence[Finding] = ()
    attempts: list[Attempt] = field(default_factory=list)
    after: Diagnosis | None = None
    by_hand: Sequence[Remedy] = ()
    curves: Mapping[str, Sequence[Trial]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    steps: int = 0
    seeds: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    running: str = ""

    @property
    def snippet(self) -> str:
        """Return what to paste, in plain PyTorch; empty where nothing helps."""
        heads = [": ".join(filter(None, (each.kind.name, each.reason))) for each in self.remedies]
        return "\n".join(f"# {head}\n{each.snippet}" for head, each in zip(heads, self.remedies, strict=True))

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        if self.running:
            return "This is under way: nothing is confirmed yet."
        return "This was interrupted: nothing is confirmed." if self.interrupted else _HEADLINES[self.verdict]

    @property
    def summary(self) -> str:
        """Return what the verdict rests on, in a sentence or two."""
        tested = [each for each in self.comparisons if each.seeds]
        if self.verdict == REPAIRED:
            won = next(each for each in tested if each.remedies == self.remedies or each.verdict is Verdict.HELPS)
            names = " and ".join(each.name for each in won.remedies)
            low, high = sorted(-bound if self.measure == "loss" else bound for bound in won.interval)
            return (
                f"What helps: {names}. With it the {self.measure} is {self._said(won.treated)} instead of "
                f"{self._said(won.control)}, over {len(won.seeds)} fresh seeds; the difference is {low:+.3g} to "
                f"{high:+.3g} (95 % interval)."
            )
        if self.verdict == HEALTHY and tested:
            best = max(tested, key=lambda each: each.effect)
            return (
                f"It reaches a {self.measure} of {self._said(best.control)} from {self._said(best.start)}; the best "
                f"that was tried reaches {self._said(best.treated)}."
            )
        if tested:
            best = max(tested, key=lambda each: each.effect)
            reached, start = self._said(best.treated), self._said(best.start)
            return f"The best that was tried reaches a {self.measure} of {reached}, from {start}."
        return ""

    def __str__(self) -> str:
        from undertow.render.terminal import screen
        from undertow.render.terminal_treatment import text

        return text(self.to_dict(), screen())

    @property
    def measure(self) -> str:
        """Return what scores are: "score", as the training has it, or "loss", on batches kept aside, negated."""
        return "loss" if self.training.score is None else "score"

    def _said(self, scores: Sequence[float] | float) -> str:
        mean = float(np.mean(scores))
        return f"{-mean if self.measure == 'loss' else mean:.3g}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        told = {
            "format": "undertow treatment 1",
            "verdict": self.verdict,
            "headline": self.headline,
            "summary": self.summary,
            "measure": self.measure,
            "remedies": [_remedy(each) for each in self.remedies],
            "snippet": self.snippet,
            "comparisons": [_comparison(each) for each in self.comparisons],
            "findings": [each.to_dict() for each in self.findings],
            "attempts": [_attempt(each) for each in self.attempts],
            "by_hand": [_remedy(each) for each in self.by_hand],
            "curves": {name: [trial.losses for trial in each] for name, each in self.curves.items()},
            "gradient": {BEFORE: _way(self.diagnosis), AFTER: _way(self.after)},
            "notes": list(self.notes),
            "steps": self.steps,
            "seeds": self.seeds,
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "running": self.running,
        }
        return dict(jsonable(told))

    def html(self) -> str:
        """As one page that needs nothing else."""
        from undertow.render.treatment_page import article  # loads altair

        return article(self.to_dict()).html()

    def _repr_html_(self) -> str:
        return self.html()

    def save(self, path: str | Path) -> Path:
        """Write it as the suffix says: ``.html``, ``.json`` or ``.txt``; the file appears whole or not at all.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        writers = {
            ".html": lambda: self.html().encode(),
            ".json": lambda: json.dumps(self.to_dict(), allow_nan=False).encode(),
            ".txt": lambda: f"{self}\n".encode(),
        }
        check_format(path)
        write_whole(path, writers[path.suffix.lower()]())
        return path


def check_format(path: Path) -> None:
    """Complain about a file that a treatment can't be written as, before there is one.

    Raises:
        ValueError: another suffix than .html, .json or .txt.
    """
    if path.suffix.lower() not in (".html", ".json", ".txt"):
        raise ValueError(f"can't write a treatment as {path.name!r}: the suffixes known are .html, .json and .txt")


_HEADLINES = {
    HEALTHY: "This training learns: nothing that was tried makes it much better.",
    REPAIRED: "This training was repaired.",
    NOTHING_HELPS: "Nothing that was tried helps.",
}


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return {**remedy.to_dict(), "name": remedy.name}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "remedies": [_remedy(each) for each in attempt.arm],
        "stage": attempt.stage,
        "scores": list(attempt.scores),
        "error": attempt.error,
        "decades": attempt.decades,
        "predicted": attempt.predicted,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {**comparison.to_dict(), "remedies": [_remedy(each) for each in comparison.remedies]}


def _way(diagnosis: Diagnosis | None) -> list[tuple[str, float]]:
    """Return names and decades of the gradient along its path, relative to where it begins."""
    path = diagnosis.gradient_path if diagnosis else None
    if diagnosis is None or path is None or not np.isfinite(path.gradient).any():
        return []
    first = float(path.gradient[np.isfinite(path.gradient)][0])
    levels = zip(path.waypoints, path.gradient, strict=True)
    return [(diagnosis.name(site), float(level) - first) for site, level in levels if math.isfinite(level)]
