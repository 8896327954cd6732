"""Replaces three functions of torch's while a step is observed, to listen to them, and at no other time.

`torch.autograd.backward` is where the loss is seen. `torch.nn.utils.clip_grad._get_total_norm` is where clipping
computes the norm that the gradient had before; to listen there costs nothing, to compute it again would.
`torch.amp.GradScaler.scale` is where a scaler shows that nobody handed to `watch`, whoever wraps it.

Several watchers may listen, and others may have put a function of their own over ours: then ours stays, and only
passes calls on. The functions are the whole process's: what is heard may be of any thread, model and optimizer, and
every listener has to tell what is its own.
"""

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.utils.clip_grad as clipping
from torch import Tensor
from torch.amp.grad_scaler import GradScaler


class Listener(Protocol):
    """Hears what happens in the process while a step is observed, on any thread. Must not raise."""

    def backward_begins(self, tensors: object) -> bool:
        """Hear that a backward pass begins at these tensors; whether to hear of its end."""
        ...

    def backward_ends(self, failed: bool) -> None:
        """Hear that it is over; ``failed``: by an error, so that some gradients are there and others aren't."""

    def norm_computed(self, norm: Tensor, norm_type: float, gradients: Sequence[Tensor]) -> None:
        """Hear that the norm of these gradients was computed, as a rule to clip them by it."""

    def loss_scaled(self, scaler: GradScaler, loss: object) -> None:
        """Hear that a scaler has returned this scaled loss."""


class PatchedFunction:
    """Replaces a function of a module of torch's as long as anybody listens. Listeners aren't held alive."""

    def __init__(self, module: Any, name: str, make: Callable[[Callable[..., Any], "PatchedFunction"], Any]) -> None:
        self._module, self._name, self._make = module, name, make
        self._listeners: list[weakref.ref[Listener]] = []
        # Of two threads that open at once the second must find what the first has put there. A listener that is
        # collected meanwhile tidies up on the thread that holds the lock.
        self._lock = threading.RLock()
        self._original: Callable[..., Any] | None = None
        self._ours: Callable[..., Any] | None = None
        self._before: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def open(self, listener: Listener) -> None:
        """Let a listener hear."""
        with self._lock:
            # A watcher that is dropped without close() must not keep torch patched: the last listener to go undoes it.
            self._listeners.append(weakref.ref(listener, lambda _: self._tidy()))
            if self._ours is None and hasattr(self._module, self._name):
                original = getattr(self._module, self._name)
                # The same wrapper again for the same function, so that opening often doesn't stack wrappers.
                if self._before is None or self._before[0] is not original:
                    self._before = original, functools.wraps(original)(self._make(original, self))
                self._original, self._ours = self._before
                setattr(self._module, self._name, self._ours)

    @property
    def is_open(self) -> bool:
        """Tell whether anybody listens."""
        return bool(self._listeners)

    def close(self, listener: Listener) -> None:
        """Let it hear no more."""
        with self._lock:
            self._listeners = [each for each in self._listeners if each() is not listener]
            if not self._listeners:
                self._undo()

    def hearing(self) -> list[Listener]:
        """Return who listens."""
        return [listener for each in self._listeners if (listener := each()) is not None]

    def _tidy(self) -> None:
        with self._lock:
            self._listeners = [each for each in self._listeners if each() is not None]
            if not self._listeners:
                self._undo()

    def _undo(self) -> None:
        if self._ours is not None and getattr(self._module, self._name) is self._ours:
            setattr(self._module, self._name, self._original)
            self._ours = self._original = None


def _hearing_backward(original: Callable[..., Any], patched: PatchedFunction) -> Callable[..., Any]:
    def backward(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        hearing = [listener for listener in patched.hearing() if listener.backward_begins(tensors)]
        failed = True
        try:
            result = original(tensors, *args, **kwargs)
            failed = False
        finally:
            for listener in hearing:
                listener.backward_ends(failed)
        return result

    return backward


def _hearing_norms(original: Callable[..., Any], patched: PatchedFunction) -> Callable[..., Any]:
    def total_norm(tensors: Any, norm_type: float = 2.0, *args: Any, **kwargs: Any) -> Any:
        given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        norm = original(tensors if isinstance(tensors, Tensor) else given, norm_type, *args, **kwargs)
        for listener in patched.hearing():
            listener.norm_computed(norm, float(norm_type), given)
        return norm

    return total_norm


def _hearing_scales(original: Callable[..., Any], patched: PatchedFunction) -> Callable[..., Any]:
    def scale(self: GradScaler, *args: Any, **kwargs: Any) -> Any:
        scaled = original(self, *args, **kwargs)
        for listener in patched.hearing():
            listener.loss_scaled(self, scaled)
        return scaled

    return scale


BACKWARD = PatchedFunction(torch.autograd, "backward", _hearing_backward)
NORMS = PatchedFunction(clipping, "_get_total_norm", _hearing_norms)
SCALES = PatchedFunction(GradScaler, "scale", _hearing_scales)


def listen(listener: Listener, scalers: bool = True) -> None:
    """Begin to listen to backward passes, to norms, and to scalers unless the scaler is known."""
    BACKWARD.open(listener)
    NORMS.open(listener)
    if scalers:
        SCALES.open(listener)


def leave(listener: Listener) -> None:
    """Stop listening."""
    BACKWARD.close(listener)
    NORMS.close(listener)
    if SCALES.is_open:
        SCALES.close(listener)
