"""Detectors of events in the numbers of a step, each asked by the writer's thread.

- `NonfiniteDetector`: the step at which the gradient ceased to be finite, or between which two steps it did.
- `SkipDetector`: the steps at which a loss scaler left the optimizer out.
- `SpikeDetector`: the steps at which the loss rose far above what it had been.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undertow.record import Event
from undertow.watching.feedback import Feedback
from undertow.watching.pass_counter import PassHistory
from undertow.watching.run_writer import RunWriter
from undertow.watching.sharding import local
from undertow.watching.step_time import StepTime

BOTH = 2
"""Ends of a network."""


@dataclass
class NonfiniteDetector:
    """Says once when the gradient ceased to be finite.

    It holds neither the model nor the user's functions, so it may be asked when those are gone.

    Args:
        writer: of the Run.
        now: returns the step that training has reached, to tell how late an inf or nan is seen.

    Attributes:
        last_finite: the last step at which every gradient was seen to be finite, or the one before the first.
        lost: whether it was said, and the numbers weren't finite again since.
        event: what was said last.
    """

    writer: RunWriter
    now: Callable[[], int]
    last_finite: int = -1
    lost: bool = False
    event: Event | None = None

    def saw_finite(self, step: int) -> None:
        """Note that every gradient was finite at this step."""
        self.last_finite, self.lost = step, False

    def finish(self, when: StepTime, history: PassHistory) -> bool:
        """Look at what the last steps left, which nobody observed: it isn't finite if the weights are lost."""
        steps = history.steps()
        if steps and not are_finite(steps[-1][1]):
            return self.say(StepTime(steps[-1][0], when.time), history)
        return False

    def say(self, when: StepTime, history: PassHistory, loss: float = math.nan, parameters: Sequence[str] = ()) -> bool:
        """Say in the Run that a gradient isn't finite; whether that is new.

        The history tells of the gradient near the loss, and perhaps of that in front: others may have ceased to be
        finite before. So the step is known exactly only if all were seen to be finite at the step before, or both ends
        were ever since they had been: what isn't finite on its way back doesn't become so again.
        """
        if self.lost:  # weights that are lost stay lost: it began once
            return False
        self.lost = True
        steps = history.steps()
        first = next((step for step, gradients in steps if not are_finite(gradients)), when.step)
        ends = {step: len(gradients) for step, gradients in steps}
        exact = all(ends.get(step) == BOTH for step in range(self.last_finite + 1, first))
        data: dict[str, Any] = {
            "step": first,
            "after": self.last_finite,
            "exact": exact,
            "seen": when.step,
            "lag": self.now() - first,
            "loss": loss,
            "parameters": list(parameters)[:10],
        }
        at = f"At step {first}" if exact else f"After step {self.last_finite} and no later than step {first}"
        which = f" ({', '.join(data['parameters'][:3])})" if parameters else ""
        text = f"{at} the gradient isn't finite{which}; seen {data['lag']} steps later."
        self.event = Event(first, when.time, "nonfinite", text, data)
        self.writer.event(first, when.time, "nonfinite", text, data)
        return True


def are_finite(gradients: Sequence[Tensor]) -> bool:
    """Tell whether the parts of gradients that lie on this process are finite; no other process is asked."""
    return all(bool(torch.isfinite(_numbers(local(gradient))).all()) for gradient in gradients)


def _numbers(gradient: Tensor) -> Tensor:
    """Return the numbers that a gradient holds, however they lie; of a sparse one those that are stored."""
    if gradient.layout is torch.strided:
        return gradient
    return gradient._values() if gradient.layout is torch.sparse_coo else gradient.values()


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


SPIKE = 6.0
"""Deviations from its mean by which a loss must rise to be a spike, and at least by half of itself."""

SETTLED = 20
"""Losses that must be known before one can be called a spike."""


@dataclass
class SpikeDetector:
    """Follows the mean and the variance of the loss, and tells whether the next one is a spike.

    Example:
        >>> detector = SpikeDetector()
        >>> any(detector.is_spike(2.0 + 0.01 * (n % 3)) for n in range(30)), detector.is_spike(9.0)
        (False, True)
    """

    mean: float = 0.0
    variance: float = 0.0
    known: int = 0

    def is_spike(self, loss: float) -> bool:
        """Take one more loss, and tell whether it is a spike."""
        if not math.isfinite(loss):
            return False
        away = loss - self.mean
        spike = self.known >= SETTLED and away > max(SPIKE * math.sqrt(self.variance), 0.5 * abs(self.mean))
        share = 1 / (self.known + 1) if self.known < 2 * SETTLED else 0.05
        self.mean += share * away
        self.variance = (1 - share) * (self.variance + share * away * away)
        self.known += 1
        return spike
