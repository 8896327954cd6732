"""Open what commands are given: a user's FILE.py:FUNCTION, a saved report or a run, without what is silenced."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow import user_model
from undertow.user_function import split

if TYPE_CHECKING:
    from undertow.diagnosis import Diagnosis
    from undertow.record import Finding
    from undertow.report import Report
    from undertow.silence import Silence

Repeats = Annotated[int, typer.Option(min=1, help="Passes to make; compute_loss may take another batch each time.")]


@dataclass(frozen=True)
class Opened:
    """A diagnosis without the findings that its project silences, and how many those are."""

    diagnosis: "Diagnosis"
    silenced: int

    @property
    def report(self) -> "Report":
        """Return the diagnosis as a report."""
        from undertow.report import Report

        return Report(self.diagnosis)

    @property
    def findings(self) -> "Sequence[Finding]":
        """Return those that are left."""
        return self.diagnosis.findings


def is_run(of: str) -> bool:
    """Tell whether this names a run's file, and neither a report nor a function of the user's."""
    path = Path(of)
    return path.suffix.lower() not in (".json", ".py") and (path.is_file() or ":" not in of)


def examined(of: str, repeats: int) -> Opened:
    """Examine the model of a FILE.py:FUNCTION."""
    import undertow
    from undertow.silence import configured

    file, _ = split(of)
    silences = configured(file)  # before the work: what is wrong with it can be said at once
    model, compute_loss, optimizer = user_model.load(of)  # and a file that isn't there before torch is loaded
    return _without_silenced(undertow.examine(model, compute_loss, optimizer, repeats).diagnosis, silences)


def read(file: Path) -> Opened:
    """Open a saved report."""
    from undertow.report import Report
    from undertow.silence import configured

    return _without_silenced(Report.read(file).diagnosis, configured(file))


def judged(file: Path) -> Opened:
    """Judge a run through time."""
    from undertow.store import open_run

    run = open_run(file)  # first of all: a file that isn't there is told at once
    from undertow.diagnosis import Diagnosis
    from undertow.rules import over_time
    from undertow.silence import configured

    silences = configured(file)
    return _without_silenced(Diagnosis(run, findings=over_time(run)), silences)


def _without_silenced(diagnosis: "Diagnosis", silences: "Sequence[Silence]") -> Opened:
    from undertow.silence import unsilenced

    kept = unsilenced(diagnosis.findings, diagnosis.run, silences)
    return Opened(replace(diagnosis, findings=kept), len(diagnosis.findings) - len(kept))
