"""Open what commands are given: a user's FILE.py:FUNCTION, a saved report or a run, without what is silenced."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from undertow import user_model
from undertow.diagnosis import Diagnosis
from undertow.record import Finding
from undertow.report import Report
from undertow.silence import Silence, configured, unsilenced
from undertow.user_function import split

Repeats = Annotated[int, typer.Option(min=1, help="Passes to make; compute_loss may take another batch each time.")]


@dataclass(frozen=True)
class Opened:
    """A diagnosis without the findings that its project silences, and how many those are."""

    diagnosis: Diagnosis
    silenced: int

    @property
    def report(self) -> Report:
        """The diagnosis as a report."""
        return Report(self.diagnosis)

    @property
    def findings(self) -> Sequence[Finding]:
        """Those that are left."""
        return self.diagnosis.findings


def is_run(of: str) -> bool:
    """Tell whether this names a run's file, and neither a report nor a function of the user's."""
    path = Path(of)
    return path.suffix.lower() not in (".json", ".py") and (path.is_file() or ":" not in of)


def examined(of: str, repeats: int) -> Opened:
    """Examine the model of a FILE.py:FUNCTION."""
    file, _ = split(of)
    silences = configured(file)  # before the work: what is wrong with it can be said at once
    from undertow.examination import examine

    model, compute_loss, optimizer = user_model.load(of)
    return _without_silenced(examine(model, compute_loss, optimizer, repeats).diagnosis, silences)


def read(file: Path) -> Opened:
    """Open a saved report."""
    return _without_silenced(Report.read(file).diagnosis, configured(file))


def judged(file: Path) -> Opened:
    """Judge a run through time."""
    from undertow.rules import over_time
    from undertow.store import open_run

    silences, run = configured(file), open_run(file)
    return _without_silenced(Diagnosis(run, findings=over_time(run)), silences)


def _without_silenced(diagnosis: Diagnosis, silences: Sequence[Silence]) -> Opened:
    kept = unsilenced(diagnosis.findings, diagnosis.run, silences)
    return Opened(replace(diagnosis, findings=kept), len(diagnosis.findings) - len(kept))
