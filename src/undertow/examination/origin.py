"""The first operation of a forward pass that makes inf or nan out of finite numbers."""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

_MASKS = frozenset({"full", "fill", "fill_", "masked_fill", "masked_fill_", "new_full", "full_like", "where"})
"""What writes -inf on purpose, for attention to leave out. (And ``empty`` is whatever was there before.)"""


@dataclass(frozen=True)
class Origin:
    """Where it began: module path, torch's name for the operation, and the user's line of source."""

    module: str
    op: str
    source: str


class OriginFinder(TorchDispatchMode):
    """Watches every operation while it is entered; `origin` is the first one to blame.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        >>> with OriginFinder(net) as finder:
        ...     _ = torch.log(net(torch.zeros(1, 2)) * 0)
        >>> finder.origin.op
        'log'
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.origin: Origin | None = None
        self._stack: list[str] = []
        self._handles: list[RemovableHandle] = []
        for name, module in model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._entering(name), prepend=True))
            self._handles.append(module.register_forward_hook(self._leaving, always_call=True))
        self._open = False

    def __enter__(self) -> Self:
        self._open = True
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *error: Any) -> None:
        self.close(*error)

    def close(self, *error: Any) -> None:
        """Stop watching. To do so twice does no harm."""
        if self._open:
            self._open = False
            super().__exit__(*(error or (None, None, None)))  # type: ignore[no-untyped-call]  # torch's
        while self._handles:
            self._handles.pop().remove()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and look at what went in if inf or nan came out."""
        del types
        out = func(*args, **(kwargs or {}))
        if self.origin is None and not _finite(_tensors(out)):
            op = func.__name__.split(".")[0]
            if op not in _MASKS and "empty" not in op and _made_here(out, (args, kwargs)):
                self.origin = Origin(self._stack[-1] if self._stack else "", op, _source())
        return out

    def _entering(self, name: str) -> Any:
        def enter(*_: object) -> None:
            self._stack.append(name)

        return enter

    def _leaving(self, *_: object) -> None:
        if self._stack:
            self._stack.pop()


def _tensors(values: Any) -> Iterable[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _made_here(out: Any, inputs: Any) -> bool:
    """Out of finite numbers, or nan out of a mask's -inf: a softmax that everything is hidden from."""
    return _finite(_tensors(inputs)) or (_has_nan(_tensors(out)) and not _has_nan(_tensors(inputs)))


def _has_nan(tensors: Iterable[Tensor]) -> bool:
    return any(bool(torch.isnan(t).any()) for t in tensors if t.is_floating_point() or t.is_complex())


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point() or t.is_complex())


def _source() -> str:
    for frame in reversed(traceback.extract_stack()[:-2]):
        if "/torch/" not in frame.filename and "/undertow/examination/" not in frame.filename:
            return f"{frame.filename}:{frame.lineno}"
    return ""
