"""`LoopHooks`: hooks on the optimizers of a training loop, which count its steps and have some of them observed.

A step goes from one step of the first optimizer to its next. On one that isn't observed, the hooks compare and count
numbers of the host; none touches what is in a tensor, let alone waits for a device.
"""

import inspect
import logging
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from undertow.tape.copying import Hook
from undertow.tape.uncompiled import uncompiled, untraced
from undertow.watching.governor import Action, Governor
from undertow.watching.governor_report import GovernorReport
from undertow.watching.manual_steps import ManualSteps
from undertow.watching.observations import Observations
from undertow.watching.pass_counter import PassCounter
from undertow.watching.step_end import StepEnd
from undertow.watching.step_observer import StepObserver
from undertow.watching.step_outbox import StepOutbox
from undertow.watching.watch_target import WatchTarget
from undertow.watching.writer_thread import warn_or_log

_log = logging.getLogger("undertow")


@dataclass(eq=False)
class LoopHooks:
    """Counts steps, and has those observed that the governor chooses.

    Args:
        target: what is watched.
        governor: says which steps to observe.
        passes: counts backward passes.
        observations: observes steps.
        outbox: takes what happens between them.
        report: tells the governor of the writer's thread, and the Run of the governor.

    Attributes:
        off: whether watching has ended.
    """

    target: WatchTarget
    governor: Governor
    passes: PassCounter
    observations: Observations
    outbox: StepOutbox
    report: GovernorReport
    off: bool = False
    _step_end: StepEnd = field(default_factory=StepEnd)
    _handles: list[RemovableHandle] = field(default_factory=list)
    _stepped: bool = False
    _first: int = 0
    _before: int = 0
    _inside: int = 0
    _replaced: bool = False

    def attach(self, step: int) -> None:
        """Set the hooks, and begin with this step."""
        self._first, self._before = step, self.passes.total
        first, *rest = self.target.optimizers
        self._handles.append(first.register_step_post_hook(Hook(self._first_stepped)))
        around = self.target.bases[0]
        for each in around:
            self._handles.append(each.register_step_post_hook(Hook(self._first_stepped)))
        for each in (first, *around) if around or calls_its_base(first) else ():
            self._handles.append(each.register_step_pre_hook(Hook(self._first_enters)))
        for index, optimizer in enumerate(rest, start=1):
            self._handles.append(optimizer.register_step_post_hook(Hook(self._other_stepped, index)))
        self.target.loss_scale.adopted = weakref.WeakMethod(self._follow_scaler)
        self.observations.placement.begin(step, weakref.WeakMethod(self._look_at_scaler))
        self.report.begin(step)
        self._begin(self.governor.start(step))

    def detach(self) -> None:
        """Take every hook off and forget what is going on; on a thread that doesn't train hooks stay and do nothing."""
        self._end()
        if not self.target.thread.is_here():  # who trains may be running the hooks, which can't change then
            return
        self.observations.remove_hooks()
        while self._handles:
            self._handles.pop().remove()

    def finish(self) -> None:
        """End the Run: have the last steps looked at, take every hook off, and close the file."""
        if not self.off:
            self._break_off()
            self.look_for_another_optimizer()
            scale = self.target.loss_scale.sent() if self.target.loss_scale.active else None
            idle = self.passes.made_for(self.governor.step)
            self.outbox.finish(self.governor.step + 1, scale)  # a step skipped last isn't over yet
            self.report.write()
            self.outbox.end(self.governor.step, self.governor.step - self._first, idle, self._before)
        self.detach()
        self.outbox.close()

    def _end(self) -> None:
        """Do nothing any more. Optimizers' hooks stay: this may be one, and they can't change while they are run."""
        self.off = self.passes.ended = True
        self.passes.stop()
        self.observations.abandon()

    def fail(self, error: Exception) -> None:
        """Say once that something of ours went wrong, and leave training alone from now on."""
        if self.off:
            return
        try:
            self._end()
        except Exception:
            _log.exception("undertow: while it stopped watching")
        step = self.governor.step
        text = f"undertow stopped watching at step {step}: {type(error).__name__}: {error}"
        self.outbox.trouble(step, text, error)
        warn_or_log(text, stacklevel=3)

    @untraced
    def _other_stepped(self, index: int, *_: object) -> None:
        if self.off:
            return
        if self.observations.current is not None:
            uncompiled(self.observations.after, index)
        if self._step_end.due and self._step_end.stepped(index):
            uncompiled(self._go_on)

    @untraced
    def _first_enters(self, *_: object) -> None:
        """Enter the first optimizer's step, maybe from within it: torch runs the hooks once for each class.

        So it does for an optimizer that the first one holds, whose steps are the first one's if it takes none itself.
        """
        self._inside += 1

    @untraced
    def _first_stepped(self, *_: object) -> None:
        """Count: the first optimizer has taken its step. As short as can be where nothing is due."""
        if self.off:
            return
        if self._inside:
            self._inside -= 1
            if self._inside:
                return
        if self._step_end.due:
            uncompiled(self._break_off)
        governor = self.governor
        self._stepped = True
        self.passes.stepped(governor.step)
        if self.observations.current is not None or governor.step + 1 >= governor.wake:
            uncompiled(self._may_go_on)
        else:
            governor.step += 1

    def _may_go_on(self) -> None:
        """End the step, unless other optimizers are still to step for it."""
        observer, several = self.observations.current, len(self.target.optimizers) > 1
        if observer is not None:
            self.observations.after(0)
        if not several or not self._step_end.first_stepped(None if observer is None else observer.awaited()):
            self._go_on()
        elif observer is not None:
            observer.broken_off = self._next_has_begun

    def _break_off(self) -> None:
        """End a step for which other optimizers should have stepped: the next has begun, or there is none."""
        if self._step_end.due:
            self._step_end.broken_off()
            self._guarded(self.observations.finish)
            self.governor.skip()

    def _next_has_begun(self) -> StepObserver | None:
        """End a step at the next one's backward pass, too late to tape it, and return who observes that."""
        self._break_off()
        self._guarded(self._begin, Action.LIGHT)
        return self.observations.current

    def _go_on(self) -> None:
        """Finish the step that was observed, and begin the next if it is to be."""
        if self.observations.current is not None:
            self._guarded(self.observations.finish)
        if action := self.governor.advance():
            self._guarded(self._begin, action)

    def _begin(self, action: Action) -> None:
        if not self.off and action is not Action.NOTHING:
            self.observations.begin(self.governor.step, action, self.fail)

    def _follow_scaler(self) -> None:
        """Follow a scaler that nobody handed over: its first loss was just scaled, and its backward pass is over."""
        self._stepped = False
        self.observations.placement.follow_scaler()

    def _look_at_scaler(self) -> None:
        """Look, after a backward pass, whether the scaler was updated since the one before and no step was taken."""
        if self.target.loss_scale.updated():
            if not self._stepped:
                self._guarded(self._skip)
            self._stepped = False

    def _skip(self) -> None:
        """Count a step that the optimizer didn't take, as the scaler left it out."""
        if self.observations.current is not None:
            self.observations.finish(skipped=True)
        else:
            self.outbox.skipped(self.governor.step, self.target.loss_scale.before())
        self.governor.skip()

    def manual_optimizer(self) -> ManualSteps:
        """Return what stands for an optimizer that isn't torch's.

        Raises:
            ValueError: there is none.
        """
        first = self.target.optimizers[0]
        if not isinstance(first, ManualSteps):
            raise ValueError(
                "before_step and after_step are for optimizers that aren't torch's, which watch(model, None) awaits: "
                f"{type(first).__name__} is watched, and tells of its steps by itself"
            )
        return first

    def manual_step(
        self,
        parameters: Iterable[Tensor] | None,
        lr: float | Tensor | Callable[[], float | Tensor] | None,
        gradients: Iterable[Tensor | None] | None,
        unclipped: Sequence[Tensor],
    ) -> None:
        """Hear that a step of an optimizer that isn't torch's is about to be taken."""
        manual, watched = self.manual_optimizer(), self.target.parameters
        if parameters is not None and manual.holds_others(given := list(parameters)):
            manual.hold(given)
            watched.refresh()
        if (observer := self.observations.current) is None:
            manual.before()
            return
        lr = lr() if callable(lr) else lr
        if gradients is not None:
            pairs = zip(manual.held, gradients, strict=True)
            watched.given = {id(p): g for p, g in pairs if g is not None}
        observer.facts.clipping.take(unclipped, observer.facts.precise)
        try:
            manual.before(lr)
        finally:
            watched.given = {}

    def look_for_another_optimizer(self) -> None:
        """Say once if the weights change though the optimizer that is watched takes no step: it was replaced."""
        changes = self.observations.changes
        count = 0 if changes is None or self._replaced else changes.unexplained(self.governor.step - 1)
        if count:
            self._replaced = True
            last = self.governor.step - 1
            text = (
                f"undertow records no step after {last}: the weights have changed {count} times since, and not by the "
                "optimizer that is watched. Was it replaced? Close this watcher, and watch the new optimizer: "
                "watch(..., resume=True) goes on in the same file."
            )
            self.outbox.trouble(last, text, RuntimeError("the optimizer was replaced"))
            warn_or_log(text, stacklevel=4)

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        try:
            act(*args)
        except Exception as error:
            self.fail(error)


def calls_its_base(optimizer: Optimizer) -> bool:
    """Tell whether an optimizer's class and one that it stands on both have a step: the one may call the other.

    Example:
        >>> import torch
        >>> class Mine(torch.optim.SGD):
        ...     def step(self, closure=None):
        ...         return super().step(closure)
        >>> weights = [torch.ones(1, requires_grad=True)]
        >>> calls_its_base(Mine(weights, lr=0.1)), calls_its_base(torch.optim.AdamW(weights))
        (True, False)
    """
    own = [vars(each)["step"] for each in type(optimizer).__mro__ if "step" in vars(each) and each is not Optimizer]
    return len({inspect.unwrap(step) for step in own}) > 1  # torch gives classes without one their base's, wrapped
