"""Penalties on weights that a loss holds: sizes of parameters, taken outside of every module's forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from undertow.remedies.outside import OutsideModel

SIZES = frozenset(
    {
        "abs", "absolute", "norm", "linalg_norm", "linalg_vector_norm", "linalg_matrix_norm", "square", "pow",
        "__pow__", "l1_loss", "mse_loss",
    }
)  # fmt: skip
FLATTENING = frozenset({"flatten", "ravel", "view", "reshape"})
PRODUCTS = frozenset({"mul", "__mul__", "dot"})


def is_penalty(name: str, args: Sequence[Any]) -> bool:
    """Tell whether a call takes the size of a parameter, or makes a vector of one, as a penalty begins.

    Args:
        name: of the function.
        args: that it is called with.

    Example:
        >>> import torch
        >>> w = nn.Parameter(torch.ones(2, 3))
        >>> is_penalty("abs", [w]), is_penalty("view", [w, -1]), is_penalty("mul", [w, w]), is_penalty("mul", [w, 2.0])
        (True, True, True, False)
    """
    if not args or not isinstance(args[0], nn.Parameter):
        return False
    flat = name in ("flatten", "ravel") or (name in FLATTENING and tuple(args[1:]) in ((-1,), ((-1,),)))
    return name in SIZES or flat or (name in PRODUCTS and len(args) > 1 and args[1] is args[0])


@dataclass(frozen=True)
class Unpenalised:
    """Lets no gradient through a penalty, as data; it makes a mode for a model."""

    def of(self, model: nn.Module) -> "_Detaching":
        """Make a mode for one call."""
        return _Detaching(model)


class _Detaching(OutsideModel):
    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return the arguments, a parameter without its gradient where it begins a penalty."""
        if not is_penalty(name, args):
            return args
        return tuple(each.detach() if isinstance(each, nn.Parameter) else each for each in args)
