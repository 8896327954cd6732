"""Replaces two functions of torch's while a step is observed, to listen to them, and at no other time.

`torch.autograd.backward` is where the loss is seen. `torch.nn.utils.clip_grad._get_total_norm` is where clipping
computes the norm that the gradient had before; to listen there costs nothing, to compute it again would.

Several watchers may listen, and others may have put a function of their own over ours: then ours stays, and only
passes calls on.
"""

import functools
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.utils.clip_grad as clipping
from torch import Tensor


class Listener(Protocol):
    """Hears what happens at the step that is observed. Must not raise."""

    def backward_begins(self, tensors: object) -> None:
        """Hear that a backward pass begins at these tensors."""

    def backward_ends(self) -> None:
        """Hear that it is over."""

    def norm_computed(self, norm: Tensor, norm_type: float, count: int) -> None:
        """Hear that the norm of ``count`` gradients was computed, as a rule to clip them by it."""


class PatchedFunction:
    """Replaces a function of a module of torch's as long as anybody listens. Listeners aren't held alive."""

    def __init__(self, module: Any, name: str, make: Callable[[Callable[..., Any], "PatchedFunction"], Any]) -> None:
        self._module, self._name, self._make = module, name, make
        self._listeners: list[weakref.ref[Listener]] = []
        self._original: Callable[..., Any] | None = None
        self._ours: Callable[..., Any] | None = None
        self._before: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def open(self, listener: Listener) -> None:
        """Let a listener hear."""
        # A watcher that is dropped without close() must not keep torch patched: the last listener to go undoes it.
        self._listeners.append(weakref.ref(listener, lambda _: self._tidy()))
        if self._ours is None and hasattr(self._module, self._name):
            original = getattr(self._module, self._name)
            # The same wrapper again for the same function, so that opening often doesn't stack wrappers.
            if self._before is None or self._before[0] is not original:
                self._before = original, functools.wraps(original)(self._make(original, self))
            self._original, self._ours = self._before
            setattr(self._module, self._name, self._ours)

    def close(self, listener: Listener) -> None:
        """Let it hear no more."""
        self._listeners = [each for each in self._listeners if each() is not listener]
        self._tidy()

    def hearing(self) -> list[Listener]:
        """Return who listens."""
        return [listener for each in self._listeners if (listener := each()) is not None]

    def _tidy(self) -> None:
        self._listeners = [each for each in self._listeners if each() is not None]
        if not self._listeners and self._ours is not None and getattr(self._module, self._name) is self._ours:
            setattr(self._module, self._name, self._original)
            self._ours = self._original = None


def _hearing_backward(original: Callable[..., Any], patched: PatchedFunction) -> Callable[..., Any]:
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        hearing = patched.hearing()
        for listener in hearing:
            listener.backward_begins(tensors)
        try:
            return original(tensors, *args, **kwargs)
        finally:
            for listener in hearing:
                listener.backward_ends()

    return backward


def _hearing_norms(original: Callable[..., Any], patched: PatchedFunction) -> Callable[..., Any]:
    def total_norm(tensors: Any, norm_type: float = 2.0, *args: Any, **kwargs: Any) -> Any:
        norm = original(tensors, norm_type, *args, **kwargs)
        for listener in patched.hearing():
            listener.norm_computed(norm, float(norm_type), 1 if isinstance(tensors, Tensor) else len(tensors))
        return norm

    return total_norm


BACKWARD = PatchedFunction(torch.autograd, "backward", _hearing_backward)
NORMS = PatchedFunction(clipping, "_get_total_norm", _hearing_norms)


def listen(listener: Listener) -> None:
    """Begin to listen to both."""
    BACKWARD.open(listener)
    NORMS.open(listener)


def leave(listener: Listener) -> None:
    """Stop listening to both."""
    BACKWARD.close(listener)
    NORMS.close(listener)
