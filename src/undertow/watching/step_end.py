"""`StepEnd`: where a step ends that several optimizers make for one loss, as Muon and, for vectors, AdamW."""

from collections.abc import Collection


class StepEnd:
    """Knows the optimizers that step right after the first one, for the same losses: a step is over with theirs.

    At an observed step an optimizer is waited for whose parameters the losses reached and that hasn't stepped for them,
    until the next backward pass begins. One that was waited for in vain (a discriminator that a generator's loss went
    through) isn't waited for again.

    Attributes:
        due: optimizers that the step which is going on waits for, by number.

    Example:
        >>> end = StepEnd()
        >>> end.first_stepped([1]), end.stepped(1), end.first_stepped(None), end.stepped(1)
        (True, True, True, True)
    """

    def __init__(self) -> None:
        self.due: set[int] = set()
        self._known: set[int] = set()
        self._in_vain: set[int] = set()

    def first_stepped(self, awaited: Collection[int] | None) -> bool:
        """Hear that the first optimizer has stepped; whether others are due.

        Args:
            awaited: optimizers that haven't stepped for the losses of this step; None where it isn't observed.
        """
        self.due = set(self._known) if awaited is None else set(awaited) - self._in_vain
        return bool(self.due)

    def stepped(self, optimizer: int) -> bool:
        """Hear that another one has stepped; whether it was the last that was due."""
        if optimizer not in self.due:
            return False
        self.due.discard(optimizer)
        self._known.add(optimizer)
        return not self.due

    def broken_off(self) -> None:
        """Hear that the next step has begun, and those that are due haven't stepped."""
        self._known -= self.due
        self._in_vain |= self.due
        self.due.clear()
