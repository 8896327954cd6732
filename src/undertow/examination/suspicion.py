"""Which operations of a forward pass may let examples meet, told by names and shapes alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from undertow.operations import ALONG_AN_AXIS, RECURRENT_CALLS, RESHAPING

ATTENTION = frozenset({"multi_head_attention_forward", "scaled_dot_product_attention"})
_PRODUCTS = frozenset({"bmm", "baddbmm", "einsum", "matmul", "__matmul__", "mm"})
_REDUCED = frozenset(
    {"mean", "sum", "std", "var", "std_mean", "var_mean", "amax", "amin", "max", "min", "median", "norm"}
)
_BATCHED = frozenset({"bmm", "matmul", "__matmul__"})

MEETING = RESHAPING | RECURRENT_CALLS | ATTENTION | _PRODUCTS | ALONG_AN_AXIS | _REDUCED
"""Functions in which examples may meet: of others a `Suspicion` learns nothing."""

Shapes = tuple[tuple[int, ...], ...]


class Suspicion:
    """Collects, over a forward pass, operations that may let examples meet. Nothing is computed.

    Attributes:
        within: tells whether the model is being called; a mean over examples outside of it is the loss's.

    Example:
        >>> import torch
        >>> suspicion, x = Suspicion(), torch.ones(4, 3, 2)
        >>> suspicion.look("bmm", (x, x.mT), {}, x @ x.mT)
        >>> suspicion.is_raised(examples=4), suspicion.is_raised(examples=3)
        (False, True)
    """

    def __init__(self) -> None:
        self.raised = False
        self.within: Callable[[], bool] = lambda: True
        self._met: set[tuple[str, Shapes]] = set()
        self.exchanged: list[list[int]] = []

    def look(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Take one call of a function of torch."""
        if not args or not isinstance(args[0], Tensor):
            return
        if name in RESHAPING and not args[0].requires_grad and not self.exchanged and isinstance(out, Tensor):
            self.exchanged = _exchanged(args[0].shape, out.shape)
        if self.raised:
            return
        if name in RESHAPING:
            self.raised = isinstance(out, Tensor) and out.shape[:1] != args[0].shape[:1] and args[0].dim() > 1
        elif name in RECURRENT_CALLS:
            self.raised = True
        elif name in ATTENTION:
            self._met.add((name, tuple(tuple(a.shape) for a in args[:3] if isinstance(a, Tensor))))
        elif name in _PRODUCTS:
            factors = [a for a in args if isinstance(a, Tensor) and not isinstance(a, nn.Parameter)]
            if len(factors) > 1:
                self._met.add((name, tuple(tuple(a.shape) for a in factors)))
        elif name in ALONG_AN_AXIS or (name in _REDUCED and self.within()):
            args = (args[0], *args[2:3]) if name == "normalize" else args  # F.normalize(x, p, dim)
            self.raised = _along_the_first(args, kwargs, unsaid=name in ALONG_AN_AXIS - {"normalize"})

    def is_raised(self, examples: int) -> bool:
        """Tell whether examples may have met, so many of which the model was called with."""
        return self.raised or not all(_stay_apart(name, shapes, examples) for name, shapes in self._met)


def _along_the_first(args: Sequence[Any], kwargs: Mapping[str, Any], unsaid: bool) -> bool:
    """Tell whether a softmax or a mean is taken along the first axis, and others are left; ``unsaid``: without one."""
    over = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    axes = over if isinstance(over, list | tuple) else (over,)
    first = any(axis in (0, -args[0].dim()) for axis in axes if isinstance(axis, int))
    return args[0].dim() > len(axes) and (first or (unsaid and over is None))


def _stay_apart(name: str, shapes: Shapes, examples: int) -> bool:
    """Tell whether shapes alone say that a product, or an attention, treats each example by itself.

    Examples lie along the first axis of all that is multiplied (the second of what `nn.MultiheadAttention` is given),
    and no other axis has as many places, which might be them.
    """
    axis = 1 if name == "multi_head_attention_forward" else 0
    if name not in ATTENTION and name not in _BATCHED:
        return False
    return len(shapes) > 1 and all(
        len(shape) > 2 and shape[axis] == examples and shape[:-1].count(examples) == 1 for shape in shapes
    )


def _exchanged(before: Sequence[int], after: Sequence[int]) -> list[list[int]]:
    """Both shapes, if a reshape of data makes a batch first look like a batch second, or the other way round."""
    swapped = [*before[1::-1], *before[2:]]
    same = len(before) < 3 or before[0] == before[1] or min(before[:2]) < 2 or list(after) != swapped
    return [] if same else [list(before), list(after)]


def axes_exchanged(before: Sequence[int], after: Sequence[int]) -> bool:
    """Tell whether two shapes differ by an exchange of two axes of different sizes.

    Example:
        >>> axes_exchanged([32, 5, 12], [32, 12, 5]), axes_exchanged([32, 5, 12], [32, 60])
        (True, False)
    """
    if len(before) != len(after) or len(before) < 3:
        return False
    off = [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    return len(off) == 2 and before[off[0]] == after[off[1]] and min(before[n] for n in off) > 1
