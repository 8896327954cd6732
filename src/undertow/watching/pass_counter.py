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

from undertow.tape.uncompiled import untraced
from undertow.watching.governor import Governor
from undertow.watching.sharding import local
from undertow.watching.training_thread import TrainingThread

SMALL = 1024
"""Elements of a gradient that may be kept until the next observed step, to find when it ceased to be finite."""

LONGEST = 1024
"""Backward passes that are remembered."""
EVERY = 8
"""One gradient in so many is kept where steps are so short that to get hold of each would be felt."""

Pass = tuple[int, int, Tensor | None]
"""A backward pass: its number, its step, and the gradient; None where there is no small one."""


@dataclass(frozen=True, slots=True)
class PassHistory:
    """The backward passes since the observed step before, each with a small gradient that an inf or nan would reach.

    Attributes:
        passes: the passes.
        in_front: steps, and gradients of the front of the network.
    """

    passes: Sequence[Pass] = ()
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


class StepsForPasses:
    """Takes the optimizer's steps for backward passes, where steps are so short that a hook costs too much.

    Args:
        parameter: whose gradient tells whether there was a pass since the last step.
        each: passes in a step.
        first: the step from which on they are counted.
        thread: that trains; no other may read the gradient.
    """

    def __init__(self, parameter: Tensor, each: int, first: int, thread: TrainingThread) -> None:
        self.parameter, self.each, self.first, self._thread = parameter, each, first, thread
        self._last: Tensor | None = None
        self._version = -1
        self.hold()

    @untraced
    def hold(self) -> Tensor | None:
        """Return the gradient that is there now, and know it again."""
        gradient = self.parameter.grad
        self._last, self._version = gradient, -1 if gradient is None else gradient._version
        return gradient

    def now(self) -> Tensor | None:
        """Return the gradient that is there now; None on a thread that may not read it."""
        return self.parameter.grad if self._thread.is_here() else None

    def is_new(self) -> bool:
        """Tell whether there was a pass since `hold`, as far as the thread that asks may know."""
        gradient = self.now()
        # A pass either hands in a new tensor (after zero_grad) or adds to the old one in place.
        return gradient is not None and (gradient is not self._last or gradient._version != self._version)


class PassCounter:
    """Counts the backward passes that reach one parameter, and keeps its gradients for a while.

    The hook is as small as can be: it runs in the middle of every backward pass. It holds nobody who holds the model,
    as a cycle through C++ is never collected.

    Args:
        governor: knows the step that is going on.
        thread: that trains.

    Attributes:
        ended: whether watching has ended, and that was told.

    Example:
        >>> import time, torch
        >>> passes, w = PassCounter(Governor(0.01, None, time.perf_counter)), torch.ones(2, requires_grad=True)
        >>> passes.count_on(w)
        >>> w.sum().backward()
        >>> passes.total, passes.seen, [(n, [g.tolist() for g in kept]) for n, kept in passes.take().steps()]
        (1, 0, [(0, [[1.0, 1.0]])])
    """

    def __init__(self, governor: Governor, thread: TrainingThread | None = None) -> None:
        self._governor, self._thread = governor, thread or TrainingThread()
        self._history: deque[Pass] = deque(maxlen=LONGEST)
        self._in_front: deque[tuple[int, Tensor | None]] = deque(maxlen=LONGEST)
        self._handles: list[RemovableHandle] = []
        self._tick = itertools.count(1).__next__
        self._taken = self._total = self._seen = 0
        self._done, self._every = 0, EVERY
        self._steps: StepsForPasses | None = None
        self._logged = 0
        self.ended = False

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
        """Take the optimizer's steps for ``each`` passes from now on. To be called when the optimizer has stepped.

        Only one gradient in `EVERY` is kept, as to get hold of each would cost as much as the hook.
        """
        self.stop()
        self._steps = StepsForPasses(parameter, each, self._done, self._thread)

    @property
    def by_steps(self) -> bool:
        """Tell whether steps are counted, and not the passes themselves."""
        return self._steps is not None

    @untraced
    def stepped(self, step: int) -> None:
        """Note that the optimizer has taken this step."""
        self._done, self._logged = step + 1, 0
        if self._steps is not None and step % self._every == 0:
            self._history.append((0, step, self._steps.hold()))

    def tell_apart(self) -> None:
        """Keep every gradient from now on: somebody asks what was `seen`, so it must be known to the step."""
        self._every = 1

    def logged(self) -> None:
        """Note that a loss was logged: where steps stand for passes, that is all that tells of passes without one."""
        self._logged += 1

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
        if self._steps is not None:
            return self._total + (self._done - self._steps.first) * self._steps.each
        return self._total + (self._history[-1][0] - self._taken if self._history else 0)

    @property
    def seen(self) -> int:
        """Return the step that the last pass was made for."""
        if self._steps is None:
            return self._history[-1][1] if self._history else self._seen
        return self._governor.step if self._steps.is_new() else self._done - 1

    def made_for(self, step: int) -> int:
        """Count the passes that were made for a step, as far as they are remembered."""
        if self._steps is not None:
            return self._logged if self._steps.is_new() else 0
        return sum(of == step for _, of, _ in self._history)

    def take(self) -> PassHistory:
        """Return the gradients that were kept, and keep them no longer."""
        steps = self._steps
        if steps is not None and self._done > steps.first:
            self._history.append((0, self._done - 1, steps.now()))
        total, history = self.total, PassHistory(list(self._history), list(self._in_front))
        self._history.clear()
        self._in_front.clear()
        self._total = total
        if steps is not None:
            self._seen, steps.first = self._done - 1, self._done
        elif history.passes:
            self._taken, self._seen, _ = history.passes[-1]
        return history

    def go_on(self, passes: int) -> None:
        """Go on after so many passes of an earlier session."""
        self._total = passes

    def begin(self, step: int) -> None:
        """Begin with this step."""
        self._seen = step

    def stop(self) -> None:
        """Count no more, and forget what was kept."""
        while self._handles:
            self._handles.pop().remove()
        self.take()
        self._steps = None
        self._tick, self._taken = itertools.count(1).__next__, 0


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
