"""TensorBoard: ``track`` writes a dozen numbers of a Run, its findings as text, and its page beside the events.

::

    from undertow.integrations.tensorboard import track

    track(watcher)  # into runs/tensorboard, or track(watcher, writer) by your SummaryWriter

The numbers (``undertow/path/slope``, ``undertow/layers/update_ratio`` and the others) are scalars at the optimizer's
steps; a finding is a text; the page is ``undertow.html`` in the folder of the events, as TensorBoard keeps no files.

Ten lines::

    import undertow
    from torch.utils.tensorboard import SummaryWriter
    from undertow.integrations.tensorboard import track

    writer = SummaryWriter("runs/tensorboard")
    with undertow.watch(model, optimizer, "runs/first.undertow") as watcher:
        track(watcher, writer)
        for step, batch in enumerate(loader):
            writer.add_scalar("loss", train_step(batch), step)

``TensorBoardTracker`` is what is told, see `undertow.integrations.tracking`;
``tell_treatment(treatment, TensorBoardTracker(writer))`` writes what the doctor has compared as a table.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertow.extras import needed
from undertow.integrations.tracking import EVERY, PREFIX, Follower, follow
from undertow.record import Finding

needed("tensorboard", "tensorboard", "undertow.integrations.tensorboard")

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter
else:
    SummaryWriter = needed("torch.utils.tensorboard", "tensorboard", "undertow.integrations.tensorboard").SummaryWriter

__all__ = ["TensorBoardTracker", "track"]

FOLDER = "runs/tensorboard"
"""Where events are written unless a writer or another folder is given."""


class TensorBoardTracker:
    """Writes events.

    Args:
        writer: writes them: a ``SummaryWriter`` of torch's or tensorboardX's, or a folder to make one in.
    """

    def __init__(self, writer: Any = FOLDER) -> None:
        self._writer = SummaryWriter(os.fspath(writer)) if isinstance(writer, str | os.PathLike) else writer

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finding(self, step: int, finding: Finding) -> None:
        """Write a text."""
        self._writer.add_text(f"{PREFIX}{finding.code}", f"**{finding.severity}**: {finding.message}", step)

    def page(self, path: Path) -> None:
        """Copy a page into the folder of the events, and flush those."""
        shutil.copy(path, Path(self._writer.log_dir, path.name))
        self._writer.flush()

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """Write a table as text."""
        lines = [columns, ["---"] * len(columns), *rows]
        said = ["| " + " | ".join(_cell(each) for each in line) + " |" for line in lines]
        self._writer.add_text(f"{PREFIX}{name}", "\n".join(said))
        self._writer.flush()


def _cell(value: str | float) -> str:
    return value.replace("|", "\\|") if isinstance(value, str) else f"{value:.4g}"


def track(watcher: Any, writer: Any = FOLDER, *, every: float = EVERY) -> Follower:
    """Write events of what a watcher records, until it is closed.

    Args:
        watcher: it, or the Run's path.
        writer: a ``SummaryWriter``, or a folder to make one in; ``runs/tensorboard`` unless told otherwise.
        every: seconds between two looks into the Run's file.

    Returns:
        The follower, to close where the writer is closed before the watcher is.
    """
    return follow(watcher, TensorBoardTracker(writer), every)
