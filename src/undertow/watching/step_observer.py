"""One step that is looked at, from its beginning to the optimizer's step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from undertow.tape import Plans
from undertow.watching import patches
from undertow.watching.full_step import Failure, Recording
from undertow.watching.loss_scale import Scaling, left_to_the_optimizer
from undertow.watching.step_facts import Note, norms
from undertow.watching.updated_parameters import Roster
from undertow.watching.watched_parameters import Members, Ranks

clock = time.perf_counter


@dataclass(frozen=True)
class Subject:
    """What is watched, and what is known about it beforehand.

    Attributes:
        model: the user's own module, without what wraps it.
        tapes: whether backward passes are taped at all.
        eager: whether the model is compiled, and has to be run without that where it is taped.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    members: Members
    scaling: Scaling
    ranks: Ranks
    tapes: bool = True
    eager: bool = False

    _rosters: dict[int, Roster] = field(default_factory=dict)

    def roster(self, optimizer: int) -> tuple[Roster, list[Tensor | None]]:
        """Whom gradient reached of one optimizer's parameters, and the gradients of all."""
        members, gradients = self.members.gradients(optimizer)
        layouts = [None if g is None else g.layout for g in gradients]
        known = self._rosters.get(optimizer)
        if known is None or known.members is not members or known.layouts != layouts:
            known = self._rosters[optimizer] = Roster(members, self.members.names, layouts)
        return known, gradients

    @cached_property
    def plans(self) -> Plans:
        """What taped steps found out about the model's graph."""
        return Plans(self.model)


@dataclass(eq=False)
class Look:
    """Listens to one step.

    Args:
        subject: what is watched.
        failed: told of errors.
        recording: reads everything, if the step is taped.
        segment: between which two of the iteration's optimizer steps the backward pass to be taped is.
        thorough: also take the norms that gradients have after the backward pass: it tells whether somebody changes
            them afterwards whom nobody hears.
        precise: numbers are so small or large that float32 can't hold their squares.

    Attributes:
        note: what was read so far.
        passes: backward passes so far.
        cost: seconds that looking took, as far as a clock of ours could see.
        backward: seconds that backward passes took.
        taken: optimizers whose gradients were read.
        segments: steps of other optimizers so far.
        opened: the clock's time when the step began.
    """

    subject: Subject
    failed: Failure
    recording: Recording | None = None
    segment: int = 0
    thorough: bool = False
    precise: bool = False
    note: Note = field(default_factory=Note)
    passes: int = 0
    cost: float = 0.0
    backward: float = 0.0
    taken: set[int] = field(default_factory=set)
    segments: int = 0
    opened: float = 0.0
    _depth: int = 0
    _began: float = 0.0
    _closure: int = -1
    _stance: Any = None
    _versions: int = -1

    def open(self) -> None:
        """Begin to listen."""
        self.opened = begun = clock()
        patches.listen(self)
        if self.recording is not None:
            if self.subject.eager:
                self._stance = torch.compiler.set_stance("force_eager")
                self._stance.__enter__()
            if self.segment == 0:
                self.recording.prepare()
        self.cost += clock() - begun

    def close(self) -> None:
        """Stop listening; what was read stays."""
        patches.leave(self)
        if self.recording is not None:
            self.recording.close()
        self._run_as_before()

    def _run_as_before(self) -> None:
        if self._stance is not None:
            stance, self._stance = self._stance, None
            stance.__exit__(None, None, None)

    def backward_begins(self, tensors: object) -> None:
        """A backward pass begins, perhaps inside another (checkpoints do that)."""
        self._depth += 1
        if self._depth == 1:
            self._guarded(self._begins, tensors)
        self._began = clock() if self._depth == 1 else self._began

    def _begins(self, tensors: object) -> None:
        loss = _single(tensors)
        if "scale" not in self.note.tensors and (scale := self.subject.scaling.scale()) is not None:
            self.note.tensors["scale"] = [scale]
        if loss is None:
            return
        if self.recording is not None and self.segments >= self.segment:
            self.recording.begins(self.passes, loss)
        taped = self.recording is not None and self.recording.backward == self.passes
        if loss.numel() == 1 and (taped or "loss" not in self.note.tensors):
            self.note.tensors["loss"] = [loss.detach()]

    def backward_ends(self) -> None:
        """It is over."""
        self._depth -= 1
        if self._depth == 0:
            self.backward += clock() - self._began
            self._guarded(self._ends)

    def _ends(self) -> None:
        self.passes += 1
        if self.recording is not None:
            self.recording.ends()
            if self.recording.finished:
                self._run_as_before()
            if self.thorough:
                members = [m for m in self.subject.members if m.counts]
                gradients = [m.parameter.grad for m in members if m.parameter.grad is not None]
                self.note.tensors["after backward"] = norms(gradients, self.precise)
        self._versions = self._version()
        if self._closure >= 0:
            self._take(self._closure)

    def norm_computed(self, norm: Tensor, norm_type: float, count: int) -> None:
        """Somebody clips."""
        self._guarded(self._clipping, norm, norm_type, count)

    def _clipping(self, norm: Tensor, norm_type: float, count: int) -> None:
        scaled = not self.subject.scaling.unscaled(self.subject.optimizers[0])
        self.note.clipping(norm.detach(), norm_type, count, scaled)

    def before(self, index: int, closure: bool) -> None:
        """An optimizer is about to step."""
        if closure:  # it computes its gradients itself
            self._closure = index
        else:
            self._guarded(self._take, index)

    def _take(self, index: int) -> None:
        if index in self.taken:
            return
        self.taken.add(index)
        optimizer, note = self.subject.optimizers[index], self.note
        note.precise = self.precise
        roster, gradients = self.subject.roster(index)
        if self.recording is not None:
            note.take_gradients(roster.names, roster.counted(self.recording.take_gradients(roster, gradients)))
        else:
            note.take_gradients(roster.names, norms(roster.counted(roster.reached(gradients)), self.precise))
        note.altered |= not self.subject.scaling.active and self._version() != self._versions
        scale, skip = left_to_the_optimizer(optimizer)
        if scale is not None:
            note.tensors["divisor"] = [scale.detach()]
            note.tensors.setdefault("scale", [scale.detach()])
        if skip is not None:
            note.tensors["skip"] = [skip.detach()]
        if index == 0:
            lr = optimizer.param_groups[0].get("lr", float("nan"))
            if isinstance(lr, Tensor):
                note.tensors["lr"] = [lr.detach().clone()]
            else:
                note.values["lr"] = float(lr)

    def after(self, index: int) -> None:
        """An optimizer has stepped."""
        self._guarded(self._after, index)

    def _after(self, index: int) -> None:
        if index not in self.taken:
            self._take(index)
        self._closure = -1
        if self.recording is not None:
            self.recording.stepped()
        if index != 0:
            self.segments += 1
            if self.recording is not None and self.segments == self.segment:
                self.recording.prepare()

    def _version(self) -> int:
        """Changes in place of one gradient: whoever clips or unscales changes them all."""
        gradients = (m.parameter.grad for m in self.subject.members)
        return next((g._version for g in gradients if g is not None), -1)

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        begun = clock()
        try:
            with torch.no_grad():
                act(*args)
        except Exception as error:
            self.failed(error)
        self.cost += clock() - begun


def _single(tensors: object) -> Tensor | None:
    """The loss, where a backward pass begins at one tensor."""
    if not isinstance(tensors, Tensor):
        many = list(tensors) if isinstance(tensors, Sequence) else []
        if len(many) != 1:
            return None
        tensors = many[0]
    return tensors if isinstance(tensors, Tensor) and tensors.grad_fn is not None else None
