"""MLflow: ``track`` logs a dozen numbers of a Run, its findings as tags and its page as an artifact.

::

    from undertow.integrations.mlflow import track

    track(watcher)  # or the Run's path

The numbers (``undertow/path/slope``, ``undertow/layers/update_ratio`` and the others) are metrics at the optimizer's
steps; a finding is the tag ``undertow.UT101`` with its sentence; the page is ``undertow/undertow.html`` among the
artifacts.

Ten lines::

    import mlflow, undertow
    from undertow.integrations.mlflow import track

    with mlflow.start_run():
        with undertow.watch(model, optimizer, "runs/first.undertow") as watcher:
            follower = track(watcher)
            for step, batch in enumerate(loader):
                mlflow.log_metric("loss", train_step(batch), step=step)
        follower.close()

``MlflowTracker`` is what is told, see `undertow.integrations.tracking`; ``tell_treatment(treatment, MlflowTracker())``
logs what the doctor has compared as the table ``undertow/doctor.json``.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.extras import needed
from undertow.integrations.tracking import EVERY, Follower, follow
from undertow.record import Finding

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import Metric
else:
    mlflow = needed("mlflow", "mlflow", "undertow.integrations.mlflow")
    Metric = needed("mlflow.entities", "mlflow", "undertow.integrations.mlflow").Metric

__all__ = ["MlflowTracker", "track"]

FOLDER = "undertow"


class MlflowTracker:
    """Tells a run of MLflow.

    Args:
        run_id: of the run; the active one unless given.

    Raises:
        ValueError: no run is active.
    """

    def __init__(self, run_id: str | None = None) -> None:
        active = mlflow.active_run()
        if run_id is None and active is None:
            raise ValueError("no run of MLflow's is active: call mlflow.start_run() first, or give its run_id")
        # By its id: which run is active is known to each thread alone.
        self._run_id = run_id or active.info.run_id
        self._client = mlflow.MlflowClient()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log metrics."""
        now = int(time.time() * 1000)
        self._client.log_batch(self._run_id, [Metric(name, value, now, step) for name, value in values.items()])

    def finding(self, step: int, finding: Finding) -> None:
        """Set a tag."""
        self._client.set_tag(
            self._run_id, f"undertow.{finding.code}", f"{finding.severity} at step {step}: {finding.message}"
        )

    def page(self, path: Path) -> None:
        """Log a page among the artifacts."""
        self._client.log_artifact(self._run_id, str(path), FOLDER)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Log a table, as MLflow's own are written; without pandas, which those need."""
        told = {"columns": list(columns), "data": [list(row) for row in rows]}
        self._client.log_dict(self._run_id, told, f"{FOLDER}/{name}.json")


def track(watcher: Any, run_id: str | None = None, *, every: float = EVERY) -> Follower:
    """Tell a run of MLflow of what a watcher records, until it is closed.

    Args:
        watcher: it, or the Run's path.
        run_id: of the run; the active one unless given.
        every: seconds between two looks into the Run's file.

    Returns:
        The follower, to close before the run is ended, so that the page is among its artifacts by then.

    Raises:
        ValueError: no run is active.
    """
    return follow(watcher, MlflowTracker(run_id), every)
