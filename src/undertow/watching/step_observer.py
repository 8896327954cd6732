"""`StepObserver`: listens to one step of training, and has a light or a full step read what it hears."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from undertow.watching import patches
from undertow.watching.full_step import FullStep
from undertow.watching.light_step import LightStep
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
    """

    opened: float = 0.0
    cost: float = 0.0
    backward: float = 0.0
    _depth: int = 0
    _began: float = 0.0

    def enters(self) -> bool:
        """Enter a backward pass; whether it is not inside another (checkpoints run some there)."""
        self._depth += 1
        return self._depth == 1

    def starts(self) -> None:
        """Take the time at which the outermost backward pass really starts."""
        self._began = clock()

    def leaves(self) -> bool:
        """Leave a backward pass; whether it was the outermost."""
        self._depth -= 1
        if self._depth == 0:
            self.backward += clock() - self._began
        return self._depth == 0


@dataclass(eq=False)
class StepObserver:
    """Listens to one step, from its beginning to the step of the first optimizer.

    Args:
        number: of the step.
        target: what is watched.
        step: reads what is heard.
        failed: called with errors of ours.

    Attributes:
        passes: backward passes so far.
        segments: steps of other optimizers so far.
        timer: times it.
    """

    number: int
    target: WatchTarget
    step: LightStep | FullStep
    failed: Callable[[Exception], None]
    passes: int = 0
    segments: int = 0
    timer: StepTimer = field(default_factory=StepTimer)
    _taken: set[int] = field(default_factory=set)
    _closure: int = -1
    _version: int = -1

    @property
    def facts(self) -> StepFacts:
        """Return what was read so far of the cheapest facts."""
        return self.step.facts

    def open(self) -> None:
        """Begin to listen."""
        self.timer.opened = begun = clock()
        patches.listen(self)
        self.step.open()
        self.timer.cost += clock() - begun

    def close(self) -> None:
        """Stop listening; what was read stays."""
        patches.leave(self)
        self.step.close()

    def backward_begins(self, tensors: object) -> None:
        """Hear that a backward pass begins at these tensors, perhaps inside another."""
        if self.timer.enters():
            self._guarded(self._begins, tensors)
            self.timer.starts()

    def _begins(self, tensors: object) -> None:
        facts, loss = self.facts, _single(tensors)
        if "scale" not in facts.tensors and (scale := self.target.loss_scale.scale()) is not None:
            facts.tensors["scale"] = [scale]
        if loss is not None:
            self.step.backward_begins(self.passes, loss)

    def backward_ends(self) -> None:
        """Hear that it is over."""
        if self.timer.leaves():
            self._guarded(self._ends)

    def _ends(self) -> None:
        self.passes += 1
        self.step.backward_ends()
        self._version = self.target.gradient_version()
        if self._closure >= 0:
            self._take(self._closure)

    def norm_computed(self, norm: Tensor, norm_type: float, count: int) -> None:
        """Hear that somebody computed the norm of ``count`` gradients, to clip them by it."""
        self._guarded(self._clipping, norm, norm_type, count)

    def _clipping(self, norm: Tensor, norm_type: float, count: int) -> None:
        scaled = not self.target.loss_scale.unscaled(self.target.optimizers[0])
        self.facts.clipping(norm.detach(), norm_type, count, scaled)

    def before(self, index: int, closure: bool) -> None:
        """Hear that an optimizer is about to step, perhaps with a closure that computes its gradients."""
        if self.target.loss_scale.active and len(self.target.optimizers) == 1:
            self.step.facts.values |= self.target.loss_scale.misuse(self.target.optimizers[index])
        if closure:
            self._closure = index
        else:
            self._guarded(self._take, index)

    def _take(self, index: int) -> None:
        if index in self._taken:
            return
        self._taken.add(index)
        self.step.take_gradients(*self.target.updated(index))
        if not self.target.loss_scale.active:  # which changes them itself
            self.facts.altered |= self.target.gradient_version() != self._version
        self.facts.see_optimizer(self.target.optimizers[index], first=index == 0)

    def after(self, index: int) -> None:
        """Hear that an optimizer has stepped."""
        self._guarded(self._after, index)

    def _after(self, index: int) -> None:
        self._take(index)
        self._closure = -1
        self.step.stepped()
        if index != 0:
            self.segments += 1
            self.step.segment_begins(self.segments)

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        begun = clock()
        try:
            with torch.no_grad():
                act(*args)
        except Exception as error:
            self.failed(error)
        self.timer.cost += clock() - begun


def _single(tensors: object) -> Tensor | None:
    """Return the loss, where a backward pass begins at one tensor."""
    if not isinstance(tensors, Tensor):
        many = list(tensors) if isinstance(tensors, Sequence) else []
        if len(many) != 1:
            return None
        tensors = many[0]
    return tensors if isinstance(tensors, Tensor) and tensors.grad_fn is not None else None
