"""`WeightChanges`: tells when weights change that the watched optimizer doesn't step: it was replaced by another."""

from torch import Tensor

PATIENCE = 20
"""Steps' worth of changes without a step, after which it isn't a clamp or an average any more."""


class WeightChanges:
    """Follows how often a weight is changed in place in a step, which the host counts and any thread may read.

    Args:
        weight: a parameter that the optimizer steps.

    Example:
        >>> import torch
        >>> weight = torch.zeros(2)
        >>> changes = WeightChanges(weight)
        >>> for step in range(10):
        ...     _ = weight.add_(1.0)
        ...     changes.stepped(step)
        >>> changes.unexplained(9)
        0
        >>> for _ in range(40):
        ...     _ = weight.add_(1.0)
        >>> changes.unexplained(9)
        40
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self._step, self._version, self._rate = -1, weight._version, 0.0

    def stepped(self, step: int) -> None:
        """Note that the optimizer has taken this step, as it is looked at."""
        version = self.weight._version
        if self._step >= 0 and step > self._step:
            self._rate = max(self._rate, (version - self._version) / (step - self._step))
        self._step, self._version = step, version

    def unexplained(self, step: int) -> int:
        """Count the changes since the last observed step that the steps up to this one don't explain; 0 if few."""
        if self._rate <= 0:
            return 0
        more = self.weight._version - self._version - self._rate * max(step - self._step, 0)
        return round(more) if more > PATIENCE * max(self._rate, 1.0) else 0
