"""`RunFacts`: what is learned of a whole run from its steps, told once in the header and by events."""

import math

from undertow.watching.online_checker import OnlineChecker
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_facts import ArrivedFacts
from undertow.watching.step_payload import StepPayload
from undertow.watching.step_time import StepTime


class RunFacts:
    """Learns whether the loss is scaled, which backward passes are taped, and what gradient doesn't reach.

    Args:
        writer: of the Run.
        checker: told what rules want to know.
    """

    def __init__(self, writer: RunWriter, checker: OnlineChecker) -> None:
        self._writer, self._checker = writer, checker
        self._loss_scale = "1"
        self._passes = {(0, 1)}
        self._reach_is_known = False

    def learn_scale(self, when: StepTime, facts: ArrivedFacts) -> None:
        """Say so if the loss is scaled, by a scale that is known or not."""
        scale = "known" if "scale" in facts.values else self._loss_scale
        if scale == "1" and facts.divided >= 2 and math.log2(facts.divided).is_integer():
            scale = "unknown"
            text = (
                f"All gradients were divided by {facts.divided:g} between the backward pass and the optimizer's step: "
                "the loss is scaled. Hand the scaler to watch(..., scaler=scaler), or its numbers can't be unscaled."
            )
            self._writer.event(when.step, when.time, "trouble", text, {"divided": facts.divided})
        if scale != self._loss_scale:
            self._loss_scale = scale
            self._writer.update_header({"loss_scale": scale})

    def learn_passes(self, when: StepTime, taped: int, passes: int) -> None:
        """Say which of a step's backward passes was taped, each once: with several optimizers they take turns."""
        if (taped, passes) not in self._passes:
            self._passes.add((taped, passes))
            told = {"taped": taped, "of": passes}
            self._writer.update_header({"micro_batch": told})
            text = f"The backward pass that is taped is number {taped + 1} of {passes} in a step."
            self._writer.event(when.step, when.time, "micro-batch", text, told)

    def learn_reach(self, payload: StepPayload) -> None:
        """Say in the header what the first full step didn't reach: rules ask there."""
        if not self._reach_is_known and payload.reach is not None:
            told = {"unreached": list(payload.reach.unreached), "not run": list(payload.reach.idle)}
            self._checker.learn(told)
            self._writer.update_header(told)
        self._reach_is_known = True
