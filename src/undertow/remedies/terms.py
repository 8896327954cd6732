"""Terms that a loss adds up: how they are counted, and how one of them is made to count less."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from undertow.remedies.outside import OutsideModel

ADDING = frozenset({"add", "__add__", "__radd__", "__iadd__", "add_", "sub", "__sub__", "__isub__", "sub_"})


def is_sum(name: str, args: Sequence[Any]) -> bool:
    """Tell whether a call adds two numbers that are tensors, as a loss of several terms does.

    Example:
        >>> import torch
        >>> one = torch.ones(())
        >>> is_sum("add", [one, one]), is_sum("add", [one, 2.0]), is_sum("add", [torch.ones(2), one])
        (True, False, False)
    """
    both = len(args) > 1 and all(isinstance(each, Tensor) and each.numel() == 1 for each in args[:2])
    return name in ADDING and both


@dataclass(frozen=True)
class Weighed:
    """Multiplies one term of a loss, as data; it makes a mode for a model.

    Attributes:
        term: which, counted from 0 in the order in which they are added up.
        factor: that it is multiplied by.
    """

    term: int
    factor: float

    def of(self, model: nn.Module) -> "_Weighing":
        """Make a mode for one call."""
        return _Weighing(model, self.term, self.factor)


class _Weighing(OutsideModel):
    def __init__(self, model: nn.Module, term: int, factor: float) -> None:
        super().__init__(model)
        self._term, self._factor, self._met = term, factor, 0

    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, the term multiplied where it is the one that is meant."""
        if not is_sum(name, args):
            return args
        self._met += 1
        if self._met != max(1, self._term):  # the first sum has the first two terms
            return args
        place = min(1, self._term)
        return tuple(self._factor * each if i == place else each for i, each in enumerate(args))
