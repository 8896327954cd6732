"""`ForwardTrigger`: tells when a model is called to be trained."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from undertow.tape.copying import nothing


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
        return nothing()


class CallListener:
    """Hears the calls of a model that is trained. Whoever it calls isn't held alive.

    Args:
        model: the user's own module.
        heard: called at each call, with the number of calls so far.
        failed: called with errors, as a hook of the user's module must not raise.
    """

    def __init__(self, model: nn.Module, heard: Callable[[int], None], failed: Callable[[Exception], None]) -> None:
        self._model, self._heard, self._failed = model, weakref.WeakMethod(heard), failed
        self._handle: RemovableHandle | None = None
        self._calls = 0

    @property
    def waits(self) -> bool:
        """Tell whether it listens."""
        return self._handle is not None

    def open(self) -> None:
        """Listen, before the hooks of others."""
        method = weakref.WeakMethod(self._called)

        def fire() -> None:
            act = method()
            if act is not None:
                act()

        self._handle = self._model.register_forward_pre_hook(ForwardTrigger(fire), prepend=True)

    def _called(self) -> None:
        try:
            self._calls += 1
            heard = self._heard()
            if heard is not None:
                heard(self._calls)
        except Exception as error:
            self._failed(error)

    def close(self) -> None:
        """Listen no more."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
