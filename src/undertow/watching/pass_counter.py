"""`PassCounter`: counts backward passes where they end, at the parameter that the gradient reaches.

The optimizer can't be asked: it is left out exactly where it would be most interesting, when a scaler finds a gradient
that isn't finite.
"""

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from undertow.watching.governor import Governor
from undertow.watching.sharding import local

SMALL = 1024
"""Elements of a gradient that may be kept until the next observed step, to find when it ceased to be finite."""

LONGEST = 1024
"""Backward passes that are remembered."""
EVERY = 8
"""One gradient in so many is kept where steps are so short that to get hold of each would be felt."""


@dataclass(frozen=True, slots=True)
class PassHistory:
    """The backward passes since the observed step before, each with a small gradient that an inf or nan would reach.

    Attributes:
        passes: the number of each, its step, and the gradient; None where there is no small one.
        in_front: steps, and gradients of the front of the network.
    """

    passes: Sequence[tuple[int, int, Tensor | None]] = ()
    in_front: Sequence[tuple[int, Tensor | None]] = ()

    def steps(self) -> tuple[tuple[int, tuple[Tensor, ...]], ...]:
        """Return by step the gradients that are still there: one or two."""
        there = dict(_still_there(self.in_front))
        kept = _still_there([(step, gradient) for _, step, gradient in self.passes])
        return tuple((step, (gradient, there[step]) if step in there else (gradient,)) for step, gradient in kept)

    @property
    def nbytes(self) -> int:
        """Return the bytes that it holds, more or less."""
        last = self.passes[-1][2] if self.passes else None
        return 512 + len(self.passes) * (100 + (0 if last is None else 4 * last.numel()))


class PassCounter:
    """Counts the backward passes that reach one parameter, and keeps its gradients for a while.

    The hook is as small as can be: it runs in the middle of every backward pass. It holds nobody who holds the model,
    as a cycle through C++ is never collected.

    Args:
        governor: knows the step that is going on.

    Example:
        >>> import time, torch
        >>> passes, w = PassCounter(Governor(0.01, None, time.perf_counter)), torch.ones(2, requires_grad=True)
        >>> passes.count_on(w)
        >>> w.sum().backward()
        >>> passes.total, passes.seen, [(n, [g.tolist() for g in kept]) for n, kept in passes.take().steps()]
        (1, 0, [(0, [[1.0, 1.0]])])
    """

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self._history: deque[tuple[int, int, Tensor | None]] = deque(maxlen=LONGEST)
        self._tick = itertools.count(1).__next__
        self._in_front: deque[tuple[int, Tensor | None]] = deque(maxlen=LONGEST)
        self._handles: list[RemovableHandle] = []
        self._total = self._seen = 0
        self._asked: Tensor | None = None
        self._last: Tensor | None = None
        self._each = self._from = self._done = 0
        self._version, self._every = -1, EVERY

    def count_on(self, parameter: Tensor | None, then: "weakref.WeakMethod[Callable[[], None]] | None" = None) -> None:
        """Count those that reach this parameter from now on; ``then``: called after each."""
        self.stop()
        if parameter is None:
            return
        append, tick, governor = self._history.append, self._tick, self._governor

        def accumulated(parameter: Tensor) -> None:
            append((tick(), governor.step, parameter.grad))

        def accumulated_in_a_large_one(_: Tensor) -> None:
            append((tick(), governor.step, None))

        plain = accumulated if local(parameter).numel() <= SMALL else accumulated_in_a_large_one

        def accumulated_and_then(parameter: Tensor) -> None:
            plain(parameter)
            act = then() if then is not None else None
            if act is not None:
                act()

        hook = plain if then is None else accumulated_and_then
        self._handles.append(parameter.register_post_accumulate_grad_hook(hook))

    def count_steps(self, parameter: Tensor, each: int) -> None:
        """Take the optimizer's steps for ``each`` passes from now on: where steps are short a hook costs too much.

        Only one gradient in `EVERY` is kept, as to get hold of each would cost as much. To be called when the optimizer
        has stepped.
        """
        self.stop()
        self._asked, self._each, self._from = parameter, each, self._done
        self._hold(parameter.grad)

    @property
    def by_steps(self) -> bool:
        """Whether steps are counted, and not the passes themselves."""
        return self._asked is not None

    def stepped(self, step: int) -> None:
        """Note that the optimizer has taken this step."""
        self._done = step + 1
        if self._asked is not None and step % self._every == 0:
            self._hold(self._asked.grad)
            self._history.append((0, step, self._last))

    def _hold(self, gradient: Tensor | None) -> None:
        self._last, self._version = gradient, -1 if gradient is None else gradient._version

    def tell_apart(self) -> None:
        """Somebody asks what was `seen`: keep every gradient, so that it is known to the step."""
        self._every = 1

    def keep_in_front(self, parameter: Tensor) -> None:
        """Keep the gradients of this one, too, at the other end: a pass whose both ends are finite is, as a rule."""
        append, governor = self._in_front.append, self._governor

        def accumulated(parameter: Tensor) -> None:
            append((governor.step, parameter.grad))

        self._handles.append(parameter.register_post_accumulate_grad_hook(accumulated))

    def missed(self, passes: int) -> None:
        """Add passes that were heard of and didn't reach the parameter."""
        self._total += passes

    @property
    def total(self) -> int:
        """Return the number of passes so far."""
        if self._asked is not None:
            return self._total + (self._done - self._from) * self._each
        return self._total + (self._history[-1][0] - self._from if self._history else 0)

    @property
    def seen(self) -> int:
        """Return the step that the last pass was made for."""
        if self._asked is None:
            return self._history[-1][1] if self._history else self._seen
        return self._governor.step if self._is_new(self._asked.grad) else self._done - 1

    def _is_new(self, gradient: Tensor | None) -> bool:
        """Tell whether there was a pass since the last step."""
        return gradient is not None and (gradient is not self._last or gradient._version != self._version)

    def take(self) -> PassHistory:
        """Return the gradients that were kept, and keep them no longer."""
        if self._asked is not None and self._done > self._from:
            self._history.append((0, self._done - 1, self._asked.grad))
        total, history = self.total, PassHistory(list(self._history), list(self._in_front))
        self._history.clear()
        self._in_front.clear()
        self._total = total
        if self._asked is not None:
            self._seen, self._from = self._done - 1, self._done
        elif history.passes:
            self._from, self._seen, _ = history.passes[-1]
        return history

    def begin(self, step: int) -> None:
        """Begin with this step."""
        self._seen = step

    def stop(self) -> None:
        """Count no more, and forget what was kept."""
        while self._handles:
            self._handles.pop().remove()
        self.take()
        self._asked = self._last = None
        self._tick, self._from = itertools.count(1).__next__, 0


def _still_there(entries: Iterable[tuple[int, Tensor | None]]) -> list[tuple[int, Tensor]]:
    """Return the last gradient of each step; none from before one that was zeroed in place."""
    kept: list[tuple[int, Tensor]] = []
    for step, gradient in entries:
        if gradient is None:
            continue
        if not kept or kept[-1][1] is not gradient:
            kept.append((step, gradient))
        elif kept[-1][0] != step:
            kept = [(step, gradient)]
    return kept
