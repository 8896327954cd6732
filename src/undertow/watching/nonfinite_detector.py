"""When the gradient ceased to be finite: between which two steps, at least."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from undertow.record import Event
from undertow.watching.pass_counter import Trail
from undertow.watching.run_writer import RunWriter
from undertow.watching.watched_parameters import local

BOTH = 2
"""Ends of a network."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When it was: the step and the seconds since the Run began."""

    step: int
    time: float


@dataclass
class Onset:
    """Says once when it began. It holds neither the model nor whoever is told of findings.

    Args:
        writer: of the Run.
        now: which step training has reached, for telling how late it is seen.

    Attributes:
        finite: the last step at which every gradient was seen to be finite, or the one before the first.
        lost: whether it was said, and the numbers weren't finite again since.
        told: what was said last.
    """

    writer: RunWriter
    now: Callable[[], int]
    finite: int = -1
    lost: bool = False
    told: Event | None = None

    def passed(self, step: int) -> None:
        """At this step every gradient was finite."""
        self.finite, self.lost = step, False

    def rest(self, moment: Moment, trail: Trail) -> bool:
        """Watching ends: what the last steps left, at which nobody looked, isn't finite if weights are lost."""
        steps = trail.steps()
        if steps and not are_finite(steps[-1][1]):
            return self.say(Moment(steps[-1][0], moment.time), trail)
        return False

    def say(self, moment: Moment, trail: Trail, loss: float = math.nan, where: Sequence[str] = ()) -> bool:
        """A gradient isn't finite; whether that is new.

        The trail tells of the gradient near the loss, and perhaps of that in front: others may have ceased to be finite
        before. So the step is known exactly only if all were seen to be finite at the step before, or both ends were
        ever since they had been: what isn't finite on its way back doesn't become so again.
        """
        if self.lost:  # weights that are lost stay lost: it began once
            return False
        self.lost = True
        steps = trail.steps()
        first = next((step for step, gradients in steps if not are_finite(gradients)), moment.step)
        ends = {step: len(gradients) for step, gradients in steps}
        exact = all(ends.get(step) == BOTH for step in range(self.finite + 1, first))
        data: dict[str, Any] = {
            "step": first,
            "after": self.finite,
            "exact": exact,
            "seen": moment.step,
            "lag": self.now() - first,
            "loss": loss,
            "parameters": list(where)[:10],
        }
        when = f"At step {first}" if exact else f"After step {self.finite} and no later than step {first}"
        what = f" ({', '.join(data['parameters'][:3])})" if where else ""
        text = f"{when} the gradient isn't finite{what}; seen {data['lag']} steps later."
        self.told = Event(first, moment.time, "nonfinite", text, data)
        self.writer.event(first, moment.time, "nonfinite", text, data)
        return True


def are_finite(gradients: Sequence[Tensor]) -> bool:
    """Of the parts on this process; no other is asked."""
    return all(bool(torch.isfinite(local(gradient)).all()) for gradient in gradients)
