"""`Treatment`: what was wrong, what was tried, what helped and by how much."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.doctoring.comparison import Comparison
from undertow.doctoring.trials import Arm
from undertow.files import write_whole
from undertow.record import Finding
from undertow.remedies import Remedy
from undertow.training import Training

HEALTHY, REPAIRED, NOTHING_HELPS = "healthy", "repaired", "nothing helps"


@dataclass(frozen=True)
class Attempt:
    """One arm and how far it came.

    Attributes:
        arm: its remedies.
        stage: "examined", "raced" or "confirmed".
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
    """What the doctor found out about a training.

    Attributes:
        verdict: "healthy", "repaired" or "nothing helps".
        remedies: those that were confirmed to help; () if none was.
        training: the training with them applied.
        comparisons: of the confirmation, the best first: nothing else is a result.
        diagnosis: of the model at its start.
        findings: of the start and of a watched training of the control.
        attempts: everything that was tried.
        after: diagnosis of the start with the remedies.
        notes: what a reader has to know to judge it.
        steps, seeds: of the confirmation's trials.
        seconds: that it all took.
    """

    verdict: str
    remedies: tuple[Remedy, ...]
    training: Training
    comparisons: list[Comparison]
    diagnosis: Diagnosis | None
    findings: Sequence[Finding] = ()
    attempts: list[Attempt] = field(default_factory=list)
    after: Diagnosis | None = None
    notes: list[str] = field(default_factory=list)
    steps: int = 0
    seeds: int = 0
    seconds: float = 0.0

    @property
    def snippet(self) -> str:
        """What to paste, in plain PyTorch; empty where nothing helps."""
        return "\n".join(f"# {each.kind.name}: {each.reason}\n{each.snippet}" for each in self.remedies)

    def __str__(self) -> str:
        return "\n".join([_HEADLINES[self.verdict], *self._found(), *self._tried(), *self._paste(), *self.notes])

    def _found(self) -> list[str]:
        serious = [str(each) for each in self.findings if str(each.severity) != "note"]
        return ["", "What is wrong", *(f"  {each}" for each in serious[:5])] if serious else []

    def _tried(self) -> list[str]:
        rows = [f"  {each}" for each in self.comparisons]
        tried = f"{len(self.attempts)} remedies and pairs were looked at, {len(self.comparisons)} confirmed or refuted"
        return ["", f"What was tried ({tried}; {self.steps} steps, {self.seconds:.0f} s)", *rows]

    def _paste(self) -> list[str]:
        return ["", "What to paste", *(f"  {line}" for line in self.snippet.splitlines())] if self.remedies else []

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "format": "undertow treatment 1",
            "verdict": self.verdict,
            "remedies": [each.to_dict() for each in self.remedies],
            "snippet": self.snippet,
            "comparisons": [each.to_dict() for each in self.comparisons],
            "findings": [each.to_dict() for each in self.findings],
            "attempts": [_attempt(each) for each in self.attempts],
            "notes": list(self.notes),
            "steps": self.steps,
            "seeds": self.seeds,
            "seconds": self.seconds,
        }

    def save(self, path: str | Path) -> Path:
        """Write it as the suffix says: ``.json``, ``.txt`` or ``.html``; the file appears whole or not at all.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        writers = {
            ".json": lambda: json.dumps(self.to_dict(), allow_nan=False).encode(),
            ".txt": lambda: f"{self}\n".encode(),
        }
        if path.suffix.lower() not in writers:
            raise ValueError(f"can't write a treatment as {path.name!r}: the suffixes known are {', '.join(writers)}")
        write_whole(path, writers[path.suffix.lower()]())
        return path


_HEADLINES = {
    HEALTHY: "This training learns: nothing that was tried makes it much better.",
    REPAIRED: "This training was repaired.",
    NOTHING_HELPS: "Nothing that was tried helps.",
}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "remedies": [each.to_dict() for each in attempt.arm],
        "stage": attempt.stage,
        "scores": list(attempt.scores),
        "error": attempt.error,
        "decades": None if attempt.decades != attempt.decades else attempt.decades,
    }
