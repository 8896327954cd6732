"""`StepObserver`: listens to one step of training, and has a light or a full step read what it hears."""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from undertow.watching import patches
from undertow.watching.full_step import FullStep
from undertow.watching.light_step import LightStep
from undertow.watching.loss_division import LossDivision, loss_division
from undertow.watching.pass_owners import HeardPass, OwnLosses, roots
from undertow.watching.step_facts import StepFacts
from undertow.watching.step_time import clock
from undertow.watching.watch_target import WatchTarget


@dataclass
class StepTimer:
    """Times one step.

    Attributes:
        opened: the clock's time when the step began.
        cost: seconds that observing took, as far as a clock of ours could see.
        backward: seconds that backward passes took.
        depth: backward passes that are under way, one inside another.
    """

    opened: float = 0.0
    cost: float = 0.0
    backward: float = 0.0
    depth: int = 0
    _began: float = 0.0

    def enters(self) -> bool:
        """Enter a backward pass; whether it is not inside another (checkpoints run some there)."""
        self.depth += 1
        return self.depth == 1

    def starts(self) -> None:
        """Take the time at which the outermost backward pass really starts."""
        self._began = clock()

    def leaves(self) -> bool:
        """Leave a backward pass; whether it was the outermost."""
        self.depth -= 1
        if self.depth == 0:
            self.backward += clock() - self._began
        return self.depth == 0


@dataclass(eq=False)
class StepObserver:
    """Listens to one step, from its beginning to the step of the first optimizer.

    Args:
        number: of the step.
        target: what is watched.
        step: reads what is heard.
        failed: called with errors of ours.

    Attributes:
        passes: backward passes of the model so far.
        segments: parts of the step so far that are over: a step of another optimizer ends one that had a pass.
        broken_off: called where a backward pass begins though the step only waits for another optimizer's; returns who
            observes the next step.
        timer: times it.
    """

    number: int
    target: WatchTarget
    step: LightStep | FullStep
    failed: Callable[[Exception], None]
    passes: int = 0
    segments: int = 0
    broken_off: "Callable[[], StepObserver | None] | None" = None
    timer: StepTimer = field(default_factory=StepTimer)
    _taken: set[int] = field(default_factory=set)
    _steps: set[int] = field(default_factory=set)
    _version: int = -1
    _passes_before: int = 0
    _next: "StepObserver | None" = None
    _begun: Sequence[Tensor] = ()
    _pass: HeardPass = field(default_factory=lambda: HeardPass(-1))
    _own: OwnLosses = field(default_factory=OwnLosses)
    _scaled: "tuple[Any, weakref.ref[Tensor]] | None" = None

    @property
    def facts(self) -> StepFacts:
        """Return what was read so far of the cheapest facts."""
        return self.step.facts

    def open(self) -> None:
        """Begin to listen."""
        self.timer.opened = begun = clock()
        patches.listen(self, scalers=isinstance(self.step, FullStep) and not self.target.loss_scale.active)
        self.facts.parts, self.facts.window = self.target.loss_parts, self.target.window
        self.step.open()
        self.timer.cost += clock() - begun

    def close(self) -> None:
        """Stop listening; what was read stays."""
        patches.leave(self)
        self.step.close()

    def _hears(self, tensors: object) -> bool:
        """Tell whether a backward pass is on the thread that trains, and may be the model's.

        While one thread is in a pass, others aren't asked: the same thread's gradients come and go on several devices.
        """
        thread, here = self.target.thread, threading.get_ident()
        if thread.ident == here:
            return True
        if not self.timer.depth and self.target.reached_from(tensors):
            thread.ident = here
            return True
        return False

    def backward_begins(self, tensors: object) -> bool:
        """Hear that a backward pass begins at these tensors, perhaps inside another; whether it may be the model's."""
        try:
            if not self._hears(tensors):
                return False
            if self.broken_off is not None and self.target.reached_from(tensors):
                self._next = self.broken_off()
            if self._next is not None:
                return self._next.backward_begins(tensors)
        except Exception as error:
            self.failed(error)
            return False
        if self.timer.enters():
            self._guarded(self._begins, roots(tensors))
            self.timer.starts()
        return True

    def _begins(self, begun: Sequence[Tensor]) -> None:
        self._begun = begun
        self.target.witness.begins()
        if len(begun) != 1:
            several = [each.detach().clone() for each in begun] if all(each.numel() == 1 for each in begun) else []
            self._pass = HeardPass(self.passes, several, self._division(begun if several else ()))
            return
        loss = begun[0]
        divided = self._division(begun if loss.numel() == 1 else ())
        # A copy: fastai multiplies a loss that was divided in place again, once its backward pass is over.
        self._pass = HeardPass(self.passes, [loss.detach().clone()] if loss.numel() == 1 else [], divided)
        self.step.backward_begins(self.passes, loss)

    def _division(self, begun: Sequence[Tensor]) -> LossDivision:
        """Return what the first of some losses was divided by, as the others were that a pass begins at."""
        return loss_division(begun[0]) if begun and self.step.several else LossDivision()

    def backward_ends(self, failed: bool) -> None:
        """Hear that it is over; ``failed``: by an error, and what it has computed so far means nothing."""
        if self._next is not None:
            self._next.backward_ends(failed)
        elif self.timer.leaves():
            self._guarded(self._fails if failed else self._ends)

    def _fails(self) -> None:
        self._begun = ()
        self.step.backward_failed()

    def _ends(self) -> None:
        begun, self._begun = self._begun, ()
        witness = self.target.witness
        self._pass.reached = witness.reached(begun)
        if not witness.reaches_model:
            return
        self.passes += 1
        self._see_scale(begun)
        self.step.backward_ends()
        if self._pass.reached:
            self._own.add(self._pass)
        self._version = self.target.gradient_version()

    def _see_scale(self, begun: Sequence[Tensor]) -> None:
        """Take the loss scale that was in force; a scaler that nobody handed over shows here."""
        loss_scale = self.target.loss_scale
        if self._scaled is not None and len(begun) == 1 and self._scaled[1]() is begun[0]:
            loss_scale.adopt(self._scaled[0])
        self._scaled = None
        if loss_scale.active and "scale" not in self.facts.tensors and (scale := loss_scale.scale()) is not None:
            self.facts.tensors["scale"] = [scale]

    def loss_scaled(self, scaler: Any, loss: object) -> None:
        """Hear that a scaler that nobody handed over has scaled a loss, of this model or of another."""
        known = self.target.loss_scale.active or not scaler.is_enabled()
        if isinstance(loss, Tensor) and not known and self.target.thread.is_here():
            self._scaled = scaler, weakref.ref(loss)

    def norm_computed(self, norm: Tensor, norm_type: float, gradients: Sequence[Tensor]) -> None:
        """Hear that somebody computed the norm of these gradients, to clip them by it."""
        if self.target.thread.ident == threading.get_ident():
            self._guarded(self._clipping, norm, norm_type, gradients)

    def _clipping(self, norm: Tensor, norm_type: float, gradients: Sequence[Tensor]) -> None:
        scaled = not self.target.loss_scale.unscaled(self.target.optimizers[0])
        self.facts.clipping.hear(norm.detach(), norm_type, gradients, scaled)

    def before(self, index: int, closure: bool) -> None:
        """Hear that an optimizer is about to step, perhaps with a closure that computes its gradients."""
        if self.timer.depth and not self.target.thread.is_here():
            self.failed(RuntimeError("several threads train this model at once, and would change what is read"))
            return
        self.target.thread.take_over()
        self._steps.add(index)
        if self.target.loss_scale.active and len(self.target.optimizers) == 1:
            self.step.facts.values |= self.target.loss_scale.misuse(self.target.optimizers[index])
        self._guarded(self._enters if closure else self._take, index)

    def _enters(self, index: int) -> None:
        if index not in self._taken:
            self.step.optimizer_enters(index)

    def take(self, index: int) -> None:
        """Read what an optimizer takes: as it enters its step, or where its closure ends."""
        self._guarded(self._take, index)

    def _take(self, index: int) -> None:
        facts, target = self.facts, self.target
        if index not in self._taken:
            self._taken.add(index)
            if facts.clipping.heard:
                facts.clipping.settle(each.parameter.grad for each in target.parameters)
            self.step.take_gradients(*target.updated(index))
            if not target.loss_scale.active:  # which changes them itself
                facts.altered |= target.gradient_version() != self._version
            facts.see_optimizer(target.optimizers[index], first=index == 0)
        passes = self._own.take(index)
        if index in self._steps:  # of closures that one step calls again and again, the first one's
            self._steps.discard(index)
            facts.see_losses(target.curves[index], passes, self.step.taped)

    def settle(self) -> None:
        """Take the losses that no optimizer has stepped for: a scaler skips one, or it steps after the first one's."""
        if len(self.target.optimizers) > 1:
            self.step.apart = self._own.apart
        if self._own.waiting:
            for index, curve in enumerate(self.target.curves):
                self.facts.see_losses(curve, self._own.left(index), self.step.taped)

    def after(self, index: int) -> None:
        """Hear that an optimizer has stepped."""
        self._guarded(self._after, index)

    def _after(self, index: int) -> None:
        self.step.stepped()
        if index != 0 and self.passes > self._passes_before:
            self._passes_before = self.passes
            self.segments += 1
            self.step.segment_begins(self.segments)

    @property
    def parts(self) -> int:
        """Count the parts of the step between optimizers' steps that had a backward pass, at least one."""
        return max(self.segments + (self.passes > self._passes_before), 1)

    def awaited(self) -> set[int]:
        """Return the optimizers that haven't stepped for losses that the first one has stepped for."""
        return self._own.awaited(0)

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        begun = clock()
        try:
            with torch.no_grad():
                act(*args)
        except Exception as error:
            self.failed(error)
        self.timer.cost += clock() - begun
