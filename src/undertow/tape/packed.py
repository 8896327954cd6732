"""Tell whether somebody's hooks packed a tensor that autograd saved: to read it runs their code, which may be an error.

A saved tensor says so itself in newer releases of torch. In older ones nobody can ask it. There it is noted between
which Nodes, by their sequence numbers, hooks for saved tensors were set (checkpointing, offloading): facts of the
forward pass are missing for these Nodes, and their gradients are measured as ever.
"""

import threading
from collections import deque
from typing import Any

from torch._C import _autograd

TELLS = hasattr(_autograd.SavedTensor, "unpack_hook")

MOST_SPANS = 4096
"""Times that hooks were set that are remembered; what is older may have been any time."""


class Spans:
    """Note between which of a thread's Nodes hooks for saved tensors are set.

    Nodes of different threads have the same numbers: one may be taken for another's, and then isn't read.

    Example:
        >>> spans = Spans()
        >>> spans.begin(3)
        >>> spans.end(5)
        >>> [spans.hold(number) for number in range(2, 7)]
        [False, True, True, False, False]
    """

    def __init__(self) -> None:
        self._spans: deque[list[float]] = deque()
        self._open = threading.local()
        self._forgotten = -1.0

    def begin(self, number: int) -> None:
        """Note that hooks are set, and that the next Node will have this number."""
        span = [float(number), float("inf")]
        self._spans.append(span)
        self._own().append(span)
        if len(self._spans) > MOST_SPANS:
            self._forgotten = max(self._forgotten, self._spans.popleft()[1])

    def end(self, number: int) -> None:
        """Note that the hooks that were set last are set no more, from the Node with this number on."""
        if own := self._own():
            own.pop()[1] = float(number)

    def hold(self, number: int) -> bool:
        """Tell whether hooks may have been set when a Node with this number was made."""
        return number < self._forgotten or any(first <= number < last for first, last in self._spans)

    def _own(self) -> list[list[float]]:
        if not hasattr(self._open, "spans"):
            self._open.spans = []
        return self._open.spans


def _noted(setting: Any) -> Spans:
    """Note from now on when hooks for saved tensors are set, at what all ways of setting them call."""
    spans, push, pop = Spans(), setting._push_saved_tensors_default_hooks, setting._pop_saved_tensors_default_hooks

    def push_noted(*hooks: Any) -> Any:
        spans.begin(setting._get_sequence_nr())
        return push(*hooks)

    def pop_noted() -> Any:
        spans.end(setting._get_sequence_nr())
        return pop()

    setting._push_saved_tensors_default_hooks, setting._pop_saved_tensors_default_hooks = push_noted, pop_noted
    return spans


_SPANS = None if TELLS else _noted(_autograd)


def may_be_packed(node: Any, name: str) -> bool:
    """Tell whether reading what a Node saved may run somebody's hooks.

    Args:
        node: of autograd's graph.
        name: of what it saved, without ``_saved_``.

    Example:
        >>> import torch
        >>> node = torch.ones(2, requires_grad=True).exp().grad_fn
        >>> may_be_packed(node, "result"), may_be_packed(node, "other")
        (False, True)
    """
    saved: Any = _autograd.SavedTensor
    kept = getattr(node, f"_raw_saved_{name}", None)
    if not isinstance(kept, saved):
        return True
    return kept.unpack_hook is not None if _SPANS is None else _SPANS.hold(node._sequence_nr())
