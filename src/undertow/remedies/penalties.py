"""Penalties on weights that a loss holds: sizes of parameters, taken outside of every module's forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

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


class Depth:
    """Counts the forward passes that are under way, of a model and of all that is in it.

    Example:
        >>> import torch
        >>> net, depth = nn.Linear(2, 1), Depth()
        >>> depth.follow(net)
        >>> handle = net.register_forward_hook(lambda *_: print(depth.inside))
        >>> depth.inside, bool(net(torch.ones(1, 2)).isnan())
        True
        (False, False)
    """

    def __init__(self) -> None:
        self._count = 0
        self._handles: list[RemovableHandle] = []

    @property
    def inside(self) -> bool:
        """Whether a forward pass is under way."""
        return self._count > 0

    def follow(self, model: nn.Module) -> None:
        """Begin to count."""
        for module in model.modules():
            self._handles.append(module.register_forward_pre_hook(self._enter, prepend=True))
            self._handles.append(module.register_forward_hook(self._leave, always_call=True))

    def _enter(self, module: nn.Module, given: Any) -> None:
        del module, given
        self._count += 1

    def _leave(self, module: nn.Module, given: Any, made: Any) -> None:
        del module, given, made
        self._count -= 1

    def leave_alone(self) -> None:
        """Take the hooks away again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


@dataclass(frozen=True)
class Unpenalised:
    """Lets no gradient through a penalty, as data; it makes a mode for a model."""

    def of(self, model: nn.Module) -> "_Detaching":
        """Make a mode for one call."""
        return _Detaching(model)


class _Detaching(TorchFunctionMode):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model, self._depth = model, Depth()

    def __enter__(self) -> "_Detaching":
        self._depth.follow(self._model)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]  # torch's
        self._depth.leave_alone()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, of a parameter without its gradient where it begins a penalty."""
        del types
        if not self._depth.inside and is_penalty(getattr(func, "__name__", ""), args):
            args = tuple(each.detach() if isinstance(each, nn.Parameter) else each for each in args)
        return func(*args, **(kwargs or {}))
