"""Terms that a loss adds up: how they are counted, and how one of them is made to count less."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from undertow.remedies.penalties import Depth

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


class _Weighing(TorchFunctionMode):
    def __init__(self, model: nn.Module, term: int, factor: float) -> None:
        super().__init__()
        self._model, self._depth, self._met = model, Depth(), 0
        self._term, self._factor = term, factor

    def __enter__(self) -> "_Weighing":
        self._depth.follow(self._model)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]  # torch's
        self._depth.leave_alone()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, with the term multiplied where it is the one that is meant."""
        del types
        if not self._depth.inside and is_sum(getattr(func, "__name__", ""), args):
            self._met += 1
            if self._met == max(1, self._term):  # the first sum has the first two terms
                place = min(1, self._term)
                args = tuple(self._factor * each if i == place else each for i, each in enumerate(args))
        return func(*args, **(kwargs or {}))
