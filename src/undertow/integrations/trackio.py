"""Trackio: ``track`` logs a dozen numbers of a Run, its findings as alerts and its page as an artifact.

::

    from undertow.integrations.trackio import track

    track(watcher)  # or the Run's path

The numbers (``undertow/path/slope``, ``undertow/layers/update_ratio`` and the others) are logged at the optimizer's
steps.

Ten lines::

    import trackio, undertow
    from undertow.integrations.trackio import track

    trackio.init(project="deep")
    with undertow.watch(model, optimizer, "runs/first.undertow") as watcher:
        follower = track(watcher)
        for step, batch in enumerate(loader):
            trackio.log({"loss": train_step(batch)}, step=step)
    follower.close()
    trackio.finish()

``TrackioTracker`` is what is told, see `undertow.integrations.tracking`; ``tell_treatment(treatment,
TrackioTracker())`` logs what the doctor has compared as a table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.extras import needed
from undertow.integrations.tracking import EVERY, PREFIX, Follower, follow
from undertow.record import Finding, Severity

if TYPE_CHECKING:
    import trackio
else:
    trackio = needed("trackio", "trackio", "undertow.integrations.trackio")

__all__ = ["TrackioTracker", "track"]


class TrackioTracker:
    """Tells a run of Trackio.

    Args:
        run: as ``trackio.init`` returned it; the current one unless given.

    Raises:
        ValueError: there is no run.
    """

    def __init__(self, run: Any = None) -> None:
        # Held here: which run is the current one is known to each thread alone.
        self._run = run or trackio.context_vars.current_run.get()
        if self._run is None:
            raise ValueError("there is no run of trackio's: call trackio.init() first, or give the run")
        self._last = 0

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        self._last = max(self._last, step)
        self._run.log(dict(values), step=step)

    def finding(self, step: int, finding: Finding) -> None:
        """Send an alert."""
        level = trackio.AlertLevel.ERROR if finding.severity is Severity.ERROR else trackio.AlertLevel.WARN
        self._run.alert(f"{finding.code} {finding.name}", finding.message, level=level, step=step)

    def page(self, path: Path) -> None:
        """Log a page as an artifact of the type ``undertow``."""
        self._run.log_artifact(path, name=f"{path.stem}-{self._run.name}", type="undertow")

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Log a table."""
        table = trackio.Table(columns=list(columns), data=[list(row) for row in rows])
        self._run.log({f"{PREFIX}{name}": table}, step=self._last)


def track(watcher: Any, run: Any = None, *, every: float = EVERY) -> Follower:
    """Tell a run of Trackio of what a watcher records, until it is closed.

    Args:
        watcher: it, or the Run's path.
        run: of trackio's; the current one unless given.
        every: seconds between two looks into the Run's file.

    Returns:
        The follower, to close before the run is finished.

    Raises:
        ValueError: there is no run.
    """
    return follow(watcher, TrackioTracker(run), every)
