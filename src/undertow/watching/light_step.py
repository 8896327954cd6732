"""`LightStep`: reads the cheapest facts of one step, such as the loss and the gradient's norm."""

import functools
from collections.abc import Callable, Sequence

from torch import Tensor

from undertow.watching.pass_counter import PassHistory
from undertow.watching.step_facts import ArrivedFacts, StepFacts, norms
from undertow.watching.step_processor import StepProcessor
from undertow.watching.step_time import StepTime
from undertow.watching.updated_parameters import UpdatedParameters

Process = Callable[[StepProcessor, StepTime, PassHistory], object]
"""Has the processor take what a step sent, on the writer's thread."""


class LightStep:
    """Reads the loss, the norm of the gradient, and what the optimizer says of itself.

    Args:
        precise: add up squares in float64.
        several: a step may have several backward passes: see what their losses are divided by.

    Attributes:
        facts: what was read so far.
        nbytes: what the writer's thread has to hold of it.
        windows: number of modules whose calls were bracketed by hooks, None as no backward pass is taped.
        taped: the number of the backward pass that is taped, -1 as none is.
        several: whether a step may have several backward passes.
        apart: whether every optimizer steps for losses of its own.
    """

    nbytes = 0
    windows: int | None = None
    taped = -1
    apart = True

    def __init__(self, precise: bool = False, several: bool = True) -> None:
        self.facts, self.several = StepFacts(precise=precise), several

    def open(self) -> None:
        """Begin: there is nothing to prepare."""

    def close(self) -> None:
        """End: nothing was attached to the model."""

    def backward_begins(self, _: int, loss: Tensor) -> None:
        """Read nothing of a backward pass."""

    def backward_ends(self) -> None:
        """Read nothing: gradients are read when the optimizer takes them."""

    def backward_failed(self) -> None:
        """Forget nothing, as nothing was read."""

    def optimizer_enters(self, _: int) -> None:
        """Read nothing before a closure has computed the gradients."""

    def take_gradients(self, updated: UpdatedParameters, gradients: Sequence[Tensor | None]) -> None:
        """Take the norms of the gradients that an optimizer is about to take."""
        self.facts.take_gradients(updated.names, norms(updated.counted(updated.reached(gradients)), self.facts.precise))

    def stepped(self) -> None:
        """Read nothing of what an optimizer did."""

    def segment_begins(self, _: int) -> None:
        """Prepare nothing for what follows another optimizer's step."""

    def send(self, _: int) -> Process:
        """Start the transfers; what is returned has the processor take what arrives."""
        return functools.partial(_process, self.facts.send())


def _process(
    arrived: Callable[[], ArrivedFacts], processor: StepProcessor, when: StepTime, history: PassHistory
) -> None:
    processor.light_step(when, arrived, history)
