"""Calls of functions outside of a model's forward passes: those that make the loss of what the model has returned."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle


class Depth:
    """Counts the forward passes that are under way, of a model and of all that is in it.

    Example:
        >>> import torch
        >>> net, depth = nn.Linear(2, 1), Depth()
        >>> handle = net.register_forward_hook(lambda *_: print(depth.inside))
        >>> depth.follow(net)
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


class OutsideModel(TorchFunctionMode):
    """Calls functions with other arguments where no forward pass of a model is under way.

    Args:
        model: whose passes are left as they are.

    Example:
        >>> import torch
        >>> class Negated(OutsideModel):
        ...     def changed(self, name, args):
        ...         return (-args[0],) if name == "relu" else args
        >>> with Negated(nn.ReLU()):
        ...     torch.relu(torch.tensor(-2.0))
        tensor(2.)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model, self._depth = model, Depth()

    def changed(self, name: str, args: Sequence[Any]) -> Sequence[Any]:
        """Return what a function is to be called with, by its name and what it was called with."""
        raise NotImplementedError

    def __enter__(self) -> "OutsideModel":
        self._depth.follow(self._model)
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]  # torch's
        self._depth.leave_alone()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, outside of the model with what `changed` returns."""
        del types
        if not self._depth.inside:
            args = self.changed(getattr(func, "__name__", ""), args)
        return func(*args, **(kwargs or {}))
