"""`ForwardTrigger`: tells when a model is called to be trained."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


class ForwardTrigger:
    """A forward pre-hook that calls ``fire`` when the model is called to be trained. A copy of it does nothing.

    Example:
        >>> model, calls = nn.Linear(2, 1), []
        >>> trigger = model.register_forward_pre_hook(ForwardTrigger(lambda: calls.append(1)))
        >>> _ = model(torch.ones(2))
        >>> with torch.no_grad():
        ...     _ = model(torch.ones(2))
        >>> calls
        [1]
    """

    def __init__(self, fire: Callable[[], None]) -> None:
        self._fire = fire

    def __call__(self, *_: object) -> None:
        """Fire; but not in a function that is being compiled, which our own must not become part of."""
        if not torch.compiler.is_compiling() and torch.is_grad_enabled():
            self._fire()

    def __reduce__(self) -> tuple[Any, ...]:  # whoever copies or pickles the model gets a hook that does nothing
        return _nothing_to_do, ()


def attach_trigger(model: nn.Module, fire: "weakref.WeakMethod[Callable[[], None]]") -> RemovableHandle:
    """Have a method called before the hooks of others when a model is called; its object isn't held alive."""

    def alive() -> None:
        act = fire()
        if act is not None:
            act()

    return model.register_forward_pre_hook(ForwardTrigger(alive), prepend=True)


def _nothing_to_do() -> Callable[..., None]:
    return _nothing


def _nothing(*_: object) -> None:
    """Do nothing."""
