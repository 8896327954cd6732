"""`StepPlanner`: how the next observed step is to be read, by what the ones before taught."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from undertow.measure import Meter
from undertow.watching.backward_tape import BackwardTape, GuardedTape
from undertow.watching.feedback import Feedback
from undertow.watching.full_step import FullStep
from undertow.watching.light_step import LightStep
from undertow.watching.step_observer import StepObserver
from undertow.watching.update_reader import UpdateReader
from undertow.watching.watch_target import WatchTarget

THOROUGH = 8
"""One full step in so many looks whether somebody changes gradients after the backward pass, unless it is known."""

ALWAYS_THOROUGH = 3
"""The first so many full steps do, too."""

Failure = Callable[[Exception], None]


@dataclass
class StepPlanner:
    """Makes the light and full steps.

    Args:
        target: what is watched.
        feedback: knows whether numbers were met whose squares float32 can't hold.

    Attributes:
        on_call: open the tape when the model is called; a container that never is (a GAN's) is taped at once, and so is
            a Lightning module, whose ``training_step`` calls its parts.
        segments: parts of an iteration between steps of its optimizers, whose backward passes are taped in turn.
        altered: whether somebody changes gradients between the backward pass and the optimizer's step.
        several: whether a step had several backward passes.
    """

    target: WatchTarget
    feedback: Feedback
    on_call: bool = field(init=False)
    segments: int = 1
    altered: bool = False
    several: bool = False
    _full_steps: int = 0

    def __post_init__(self) -> None:
        kind = type(self.target.model)
        self.on_call = kind.forward is not nn.Module.forward and not hasattr(kind, "training_step")

    def light_step(self) -> LightStep:
        """Make a light step."""
        return LightStep(self.feedback.precise, self.several)

    def full_step(self, failed: Failure) -> FullStep:
        """Make a full step, which tells of its errors."""
        count, self._full_steps = self._full_steps, self._full_steps + 1
        meter, precise = Meter(), self.feedback.precise
        with_rows = count & (count - 1) == 0  # the first, second, third, fifth, ninth ...: they change slowly
        return FullStep(
            self.target,
            meter,
            UpdateReader(meter, with_rows, precise, self.target.plans if self.target.tapes else None),
            self._tape(meter, with_rows, failed) if self.target.tapes else None,
            segment=count % self.segments,
            thorough=count < ALWAYS_THOROUGH or count % THOROUGH == 0 or self.altered,
            precise=precise,
        )

    def _tape(self, meter: Meter, with_rows: bool, failed: Failure) -> BackwardTape:
        sharded, precise = self.target.parameters.sharded, self.feedback.precise

        def make() -> GuardedTape:
            meter.inflow, meter.lasting = with_rows and not sharded, not sharded
            meter.verify, meter.precise = with_rows, precise
            return GuardedTape(self.target.plans, meter, failed)

        return BackwardTape(self.target.model, make, self.on_call, sharded, failed, self.target.leaves.look)

    def learn(self, observer: StepObserver) -> None:
        """Learn from a step that was observed."""
        facts = observer.facts
        self.several |= observer.passes > 1
        if isinstance(
            observer.step, FullStep
        ):  # light steps come when there is time: what is taped must not hang on it
            self.segments = observer.parts
        self.altered |= facts.altered and not facts.clipped
        if isinstance(observer.step, FullStep) and observer.step.unheard:
            self.on_call = False
