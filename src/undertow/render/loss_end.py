"""Tell whether a run's loss ended in inf or nan, and where it was last a number."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from undertow.formatting import number
from undertow.record import Run

Numbers = NDArray[np.floating]


def loss_end(run: Run) -> "LossEnd":
    """Return how the loss of a whole run ended."""
    end = LossEnd()
    end.add(run.scalars)
    return end


class LossEnd:
    """Follows the scalars of a run as they come.

    Attributes:
        step, loss: the last step with a finite loss, and that loss; nan before there is one.
        last: the last step there is; nan before there is one.
        lost: whether the loss, or the gradient, is no number at the last step that tells.

    Example:
        >>> end = LossEnd()
        >>> end.add({"step": np.arange(4.0), "loss": np.array([2.0, 1.5, np.inf, np.nan])})
        >>> end.sentence
        'diverged: the last finite loss was 1.5 at step 1, and training went on to step 3'
    """

    def __init__(self) -> None:
        self.step = self.loss = self.last = np.nan
        self.lost = False

    def add(self, scalars: Mapping[str, Numbers]) -> None:
        """Take in rows that follow those before."""
        loss = np.asarray(scalars.get("loss", ()), float)
        steps = np.asarray(scalars.get("step", np.arange(len(loss))), float)
        if not len(steps):
            return
        self.last = float(steps[-1])
        if len(loss) != len(steps):
            return
        # A row without a loss has nan there, too: only what says so is not finite.
        flagged = np.nan_to_num(np.asarray(scalars.get("nonfinite", np.zeros(len(steps))), float)) > 0
        skipped = np.nan_to_num(np.asarray(scalars.get("skipped", np.zeros(len(steps))), float)) > 0
        finite, lost = np.isfinite(loss) & ~flagged, (flagged | np.isinf(loss)) & ~skipped
        if finite.any():
            at = int(finite.nonzero()[0][-1])
            self.step, self.loss = float(steps[at]), float(loss[at])
        telling = (finite | lost).nonzero()[0]
        if len(telling):
            self.lost = bool(lost[telling[-1]])

    @property
    def sentence(self) -> str:
        """Say that it diverged, from where on, and how far it went on; empty if it didn't."""
        if not self.lost:
            return ""
        onward = f", and training went on to step {self.last:,.0f}" if self.last > self.step else ""
        if np.isnan(self.step):
            return f"diverged: no loss was finite up to step {self.last:,.0f}"
        return f"diverged: the last finite loss was {number(self.loss)} at step {self.step:,.0f}{onward}"

    def to_dict(self) -> dict[str, float | None] | None:
        """Return where it diverged as JSON values; None if it didn't."""
        if not self.lost:
            return None
        known = {"last_finite_step": self.step, "last_finite_loss": self.loss, "last_step": self.last}
        return {name: None if np.isnan(value) else value for name, value in known.items()}
