"""`SkipDetector`: the steps at which a loss scaler left the optimizer out."""

from dataclasses import dataclass

from undertow.watching.feedback import Feedback
from undertow.watching.nonfinite_detector import NonfiniteDetector, are_finite
from undertow.watching.pass_counter import PassHistory
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_time import StepTime

QUIET = 100
"""Steps without a skipped one, after which the next is worth an event again."""


@dataclass
class SkipDetector:
    """Says that steps were skipped, the first of many only.

    Args:
        writer: of the Run.
        nonfinite: knows which step training has reached.
        feedback: asked for a burst.
    """

    writer: RunWriter
    nonfinite: NonfiniteDetector
    feedback: Feedback
    _last: int = -QUIET
    _scale: float = 0.0

    def say(self, when: StepTime, scale: float) -> None:
        """Say that the optimizer was skipped, as the gradient wasn't finite under this loss scale."""
        if when.step - self._last >= QUIET:
            self.feedback.request_burst()
            text = f"The optimizer was skipped: under a loss scale of {scale:g} the gradient isn't finite."
            data = {"skipped": True, "scale": scale, "step": when.step, "lag": self.nonfinite.now() - when.step}
            self.writer.event(when.step, when.time, "nonfinite", text, data)
        self._last = when.step

    def look_back(self, when: StepTime, scale: float, history: PassHistory) -> None:
        """Find the steps that a fused optimizer skipped by itself: nobody hears of it, but then the scale falls."""
        before, self._scale = self._scale, scale
        if scale < before:
            for step, gradients in history.steps():
                if step < when.step and not are_finite(gradients):
                    self.writer.scalars(step, when.time, {"skipped": 1.0, "nonfinite": 1.0})
                    self.say(StepTime(step, when.time), before)
