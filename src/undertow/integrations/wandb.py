"""Weights & Biases: ``track`` sends a dozen numbers of a Run, its findings as alerts and its page as an artifact.

::

    from undertow.integrations.wandb import track

    track(watcher)  # or the Run's path

The numbers (``undertow/path/slope``, ``undertow/layers/update_ratio`` and the others) have an axis of their own,
``undertow/step``: the optimizer's steps. They never move the step that you log at, so nothing of yours is lost: they
go into the row that you log next, as many as you log rows. In a run that nobody else logs to, ``alone=True`` gives
every one its own.

Ten lines::

    import undertow, wandb
    from undertow.integrations.wandb import track

    run = wandb.init(project="deep")
    with undertow.watch(model, optimizer, "runs/first.undertow") as watcher:
        track(watcher)
        for step, batch in enumerate(loader):
            loss = train_step(batch)
            run.log({"loss": loss})
    run.finish()

``WandbTracker`` is what is told, see `undertow.integrations.tracking`; ``tell_treatment(treatment, WandbTracker())``
logs what the doctor has compared as a table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.extras import needed
from undertow.integrations.tracking import EVERY, PREFIX, Follower, follow
from undertow.record import Finding, Severity

if TYPE_CHECKING:
    import wandb
else:
    wandb = needed("wandb", "wandb", "undertow.integrations.wandb")

__all__ = ["WandbTracker", "track"]

STEP = f"{PREFIX}step"


class WandbTracker:
    """Tells a run of Weights & Biases.

    Args:
        run: it; the active one unless given.
        alone: nobody else logs to the run: every observed step is a row of its own.

    Raises:
        ValueError: there is no run.
    """

    def __init__(self, run: Any = None, alone: bool = False) -> None:
        self._run, self._alone = run or wandb.run, alone
        if self._run is None:
            raise ValueError("there is no run of wandb's: call wandb.init() first, or give the run")
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric(f"{PREFIX}*", step_metric=STEP)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers; unless alone into the row that comes next, as a step of ours would make wandb drop others'."""
        row = {STEP: step, **values}
        if self._alone:
            self._run.log(row)
        else:
            self._run.log(row, step=self._run.step)

    def finding(self, step: int, finding: Finding) -> None:
        """Send an alert, and note the step in the run's summary."""
        level = wandb.AlertLevel.ERROR if finding.severity is Severity.ERROR else wandb.AlertLevel.WARN
        self._run.alert(f"{finding.code} {finding.name}", f"Step {step}: {finding.message}", level=level)
        self._run.summary[f"{PREFIX}{finding.code}"] = step

    def page(self, path: Path) -> None:
        """Log a page as an artifact of the type ``undertow``."""
        artifact = wandb.Artifact(f"{path.stem}-{self._run.id}", type="undertow")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Log a table."""
        table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        step = {} if self._alone else {"step": self._run.step}
        self._run.log({f"{PREFIX}{name}": table}, **step)


def track(watcher: Any, run: Any = None, *, alone: bool = False, every: float = EVERY) -> Follower:
    """Tell a run of Weights & Biases of what a watcher records, until it is closed.

    Args:
        watcher: it, or the Run's path.
        run: of wandb's; the active one unless given.
        alone: nobody else logs to the run: every observed step is a row of its own.
        every: seconds between two looks into the Run's file.

    Returns:
        The follower, to close where the run is finished before the watcher is.

    Raises:
        ValueError: there is no run.
    """
    return follow(watcher, WandbTracker(run, alone), every)
