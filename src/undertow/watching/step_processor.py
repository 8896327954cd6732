"""`StepProcessor`: on the writer's thread, numbers arrive from their devices and become rows and events of the Run."""

import math
from collections.abc import Callable, Mapping

from undertow.watching.detectors import NonfiniteDetector, SkipDetector, SpikeDetector, are_finite
from undertow.watching.feedback import Feedback
from undertow.watching.full_step_writer import FullStepWriter
from undertow.watching.loop_reader import CLEARED, LoopFacts
from undertow.watching.online_checker import FindingReporter, OnlineChecker
from undertow.watching.pass_counter import PassHistory
from undertow.watching.run_facts import RunFacts
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_facts import ArrivedFacts
from undertow.watching.step_payload import StepPayload, columns_of
from undertow.watching.step_time import StepTime
from undertow.watching.unseen import Unseen


class StepProcessor:
    """Writes what arrives of observed steps, and detects what is worth an event.

    Args:
        writer: of the Run.
        checker: asks the rules about full steps, as often as there is time for.
        nonfinite: says when the gradient ceased to be finite.
        feedback: takes what the thread that trains must know.
    """

    def __init__(
        self, writer: RunWriter, checker: OnlineChecker, nonfinite: NonfiniteDetector, feedback: Feedback
    ) -> None:
        self._writer, self._feedback = writer, feedback
        self._facts = RunFacts(writer, checker)
        self._reporter = FindingReporter(writer, checker)
        self._unseen = Unseen(writer, checker.header.get("unseen", ()))
        self._full_steps = FullStepWriter(writer, self._facts, self._reporter, feedback, self._unseen)
        self._nonfinite, self._spikes = nonfinite, SpikeDetector()
        self._skips = SkipDetector(writer, nonfinite, feedback)

    def light_step(self, when: StepTime, arrived: Callable[[], ArrivedFacts], history: PassHistory) -> None:
        """Write a light step."""
        facts = arrived()
        self._feedback.saw_norms("gradient", facts.values.get("grad_norm", 1.0))
        self._writer.scalars(when.step, when.time, _known(facts.values))
        self._detect(when, facts, history)
        self._feedback.worked()

    def full_step(
        self,
        when: StepTime,
        arrived: Callable[[], ArrivedFacts],
        loop: Callable[[], LoopFacts],
        payload: StepPayload,
        history: PassHistory,
        passes: int,
    ) -> Callable[[], None]:
        """Take a full step, in which there were so many backward passes. What is returned writes all that wait."""
        facts, around = arrived(), loop()
        payload.arrive(facts.scale, facts.divisor)
        self._writer.scalars(when.step, when.time, _known(facts.values) | _around(around.values, facts.values))
        self._facts.learn_loop(around, facts)
        self._facts.learn_curves(facts.shared)
        self._detect(when, facts, history, payload)
        self._facts.learn_scale(when, facts)
        self._unseen.learn_passes(when, passes, facts.values.get("grad_norm", 0.0) > 0)
        loss = {} if math.isnan(facts.taped_loss) else {"loss": facts.taped_loss}
        self._full_steps.add(payload, when, facts.values | loss, passes)
        return self._full_steps.write

    def skipped_step(self, when: StepTime, scale: Callable[[], float]) -> None:
        """Take a step that wasn't observed and was skipped, under this loss scale."""
        self._skips.say(when, scale())
        self._feedback.worked()

    def finish(self, when: StepTime, history: PassHistory, scale: Callable[[], float] | None) -> None:
        """Look at the last steps, which nobody observed; ``scale``: the loss's, if a scaler skips steps."""
        if scale is not None:
            self._skips.look_back(when, scale(), history)
        elif self._nonfinite.finish(when, history):
            self._lost(when, None, {})
        self._full_steps.write()  # what waits for more of its kind
        self._reporter.finish(when)

    def _detect(
        self, when: StepTime, facts: ArrivedFacts, history: PassHistory, payload: StepPayload | None = None
    ) -> None:
        values = facts.values
        loss = values.get("loss", math.nan)
        if "scale" in values:
            self._skips.look_back(when, values["scale"], history)
        if values.get("skipped"):
            self._skips.say(when, values.get("scale", math.nan))
        elif math.isnan(values.get("nonfinite", 0.0)) and all(are_finite(kept) for _, kept in history.steps()):
            self._feedback.request_burst()  # the next observed step is a precise one, and tells
        elif values.get("nonfinite") or not math.isfinite(values.get("loss", 0.0)):
            if self._nonfinite.say(when, history, loss, facts.nonfinite):
                self._feedback.request_burst()
                self._lost(when, payload, values)
        else:
            self._nonfinite.saw_finite(when.step)
            self._see_loss(when, loss)

    def _lost(self, when: StepTime, payload: StepPayload | None, values: Mapping[str, float]) -> None:
        event = self._nonfinite.event
        if event is not None:
            self._full_steps.write()  # what they tell happened before, and may be the cause
            columns = columns_of([payload])[0] if payload is not None and event.step == when.step else None
            self._reporter.lost(when, event, columns, values)

    def _see_loss(self, when: StepTime, loss: float) -> None:
        """Take one more loss; if it is a spike, say so and have the next steps observed densely."""
        before = self._spikes.mean
        if self._spikes.is_spike(loss):
            self._feedback.request_burst()
            text = f"The loss rose to {loss:.4g} from {before:.4g}: the next steps are looked at closely."
            self._writer.event(when.step, when.time, "spike", text, {"loss": loss, "before": before})


def _around(loop: Mapping[str, float], values: Mapping[str, float]) -> dict[str, float]:
    """Add that gradients were cleared, where they were set to 0 between the backward pass and the step."""
    emptied = values.get("grad_norm") == 0 and values.get("grad_norm_unclipped", 0.0) > 0
    return {**loop, CLEARED: 1.0} if emptied and CLEARED in loop else dict(loop)


def _known(values: Mapping[str, float]) -> dict[str, float]:
    """Leave out the norm, where it may have overflowed."""
    unknown = ("grad_norm", "nonfinite") if math.isnan(values.get("nonfinite", 0.0)) else ()
    return {name: value for name, value in values.items() if name not in unknown}
