"""`UserLog`: numbers of the user's own, put beside what is recorded of a step."""

from collections.abc import Mapping

from torch import Tensor

from undertow.watching.observations import Observations
from undertow.watching.pass_counter import PassCounter
from undertow.watching.step_facts import send_named
from undertow.watching.step_outbox import StepOutbox


class UserLog:
    """Takes numbers for the step of the last backward pass.

    What is logged at every step, as a loss is, is kept at observed steps; what is logged now and then, always.

    Args:
        passes: knows which step that is.
        observations: knows which steps are observed.
        outbox: takes the numbers of the others.
    """

    def __init__(self, passes: PassCounter, observations: Observations, outbox: StepOutbox) -> None:
        self._passes, self._observations, self._outbox = passes, observations, outbox
        self._last: dict[str, int] = {}

    def add(self, values: Mapping[str, float | Tensor]) -> None:
        """Add numbers by name, or tensors of one element."""
        self._passes.tell_apart()
        step = self._passes.seen
        observed = self._observations.is_observed(step)
        kept = {name: v for name, v in values.items() if observed or not self._is_dense(name, step)}
        self._last |= dict.fromkeys(values, step)
        if not kept or self._observations.log(step, kept):
            return
        coming = send_named({name: [v.detach().clone()] for name, v in kept.items() if isinstance(v, Tensor)})
        known = {name: float(v) for name, v in kept.items() if not isinstance(v, Tensor)}
        self._outbox.log(step, known, coming)

    def _is_dense(self, name: str, step: int) -> bool:
        """Tell whether a number was logged at the step before as well."""
        return 0 <= step - self._last.get(name, -2) <= 1 or name == "loss"
