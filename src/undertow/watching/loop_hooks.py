"""What happens on the training thread: hooks that count, and a `Look` at the steps that the governor chooses.

A step goes from one step of the first optimizer to its next. On one that isn't looked at, the hooks compare and count
numbers of the host; none touches what is in a tensor, let alone waits for a device.
"""

import functools
import logging
import math
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from undertow.watching.full_step import Recording
from undertow.watching.governor import HOOKS_SECONDS, Action, Governor
from undertow.watching.nonfinite_detector import Moment
from undertow.watching.pass_counter import SMALL, Passes
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_observer import Look, Subject, clock
from undertow.watching.step_processor import Delivery

THOROUGH = 8
"""One tape in so many looks whether somebody changes gradients after the backward pass, unless it is known."""

WINDOW_SECONDS = 4e-6
"""What the hooks around a module's call cost, which no clock of ours can see."""

COUNTING_FROM = 1e-5
"""What a step must pay in for backward passes to be counted by a hook, which takes 4 us of it."""

IN_FRONT_FROM, IN_FRONT_SECONDS = {"cpu": math.inf, "elsewhere": 5e-5}, 2e-6
"""What a step must pay in for the front's gradient to be kept, too, and what the hook costs.

On a CPU nothing is enough: what is held lies in the way of the memory of the large gradients behind it, which the
system then takes back and hands out anew, 300 pages in each step of an MLP, 6 % of its time. A GPU's small blocks are
kept apart.
"""

_log = logging.getLogger("undertow")


def _in_front_from(device: torch.device) -> float:
    return IN_FRONT_FROM.get(device.type, IN_FRONT_FROM["elsewhere"])


def _news_of(stepper: "Stepper") -> Callable[[], None]:
    """What waits to be written holds the governor, and mustn't hold the model by it."""
    belongs = weakref.ref(stepper)

    def news() -> None:
        alive = belongs()
        if alive is not None:
            alive._news()

    return news


class Once:
    """Is called once, and holds nothing any more: who called it may keep it for a while."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: list[Callable[[], object]] = [act]

    def __call__(self) -> object:
        """Do it."""
        return self._act.pop()()


@dataclass(eq=False)
class Stepper:
    """Counts steps, and looks when the governor says so.

    Args:
        subject: what is watched.
        governor: says when.
        writer, delivery: take what is read.
        passes: counts backward passes.
        start: the clock's time at which the Run began.

    Attributes:
        noted: the last step that was looked at.
        look: at the step that is going on, if it is looked at.
        off: whether watching has ended.
    """

    subject: Subject
    governor: Governor
    writer: RunWriter
    delivery: Delivery
    passes: Passes
    start: float
    noted: int = -1
    look: Look | None = None
    off: bool = False
    _handles: list[RemovableHandle] = field(default_factory=list)
    _while_looking: list[RemovableHandle] = field(default_factory=list)
    _stepped: bool = False
    _at_the_door: bool = True
    _segments: int = 1
    _altered: bool = False
    _counted_before: int = 0
    _usual_backward: float = 0.0
    _charged: float = 0.0
    _report_at: int = 0
    _in_front: bool = False

    def attach(self, step: int) -> None:
        """Set the hooks, and begin with this step."""
        first, *rest = self.subject.optimizers
        self._handles.append(first.register_step_post_hook(self._first_stepped))
        for index, optimizer in enumerate(rest, start=1):
            self._handles.append(optimizer.register_step_post_hook(functools.partial(self._after, index)))
        self._at_the_door = type(self.subject.model).forward is not nn.Module.forward
        self._count_on(next(self._countable(), None))
        self.passes.begin(step)
        self.delivery.onset.passed(step - 1)  # what isn't finite at the first step began there
        self._report_at = step + 16
        self.governor.news = _news_of(self)
        self._begin(self.governor.start(step))

    def detach(self) -> None:
        """Take every hook off; what is going on is forgotten."""
        self._end()
        for handles in (self._handles, self._while_looking):
            while handles:
                handles.pop().remove()

    def _end(self) -> None:
        """Do nothing any more. Optimizers' hooks stay: this may be one, and they can't change while they are run."""
        self.off = True
        self.passes.stop()
        look, self.look = self.look, None
        if look is not None:
            look.close()

    def fail(self, error: Exception) -> None:
        """Something of ours went wrong: say so once, and leave training alone from now on."""
        if self.off:
            return
        try:
            self._end()
        except Exception:
            _log.exception("undertow: while it stopped watching")
        step = self.governor.step
        text = f"undertow stopped watching at step {step}: {type(error).__name__}: {error}"
        self.writer.event(step, self.moment(step).time, "trouble", text, {"error": repr(error)})
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        except RuntimeWarning:  # whoever makes errors of warnings wants to hear of it, not to lose a training run
            _log.warning(text)

    def moment(self, step: int) -> Moment:
        """A step, and the time that it is now."""
        return Moment(step, clock() - self.start)

    def _scaler_looked_at(self) -> None:
        """After a backward pass: was the scaler updated since the one before, and no step taken?"""
        if self.subject.scaling.updated():
            if not self._stepped:
                self._guarded(self._skip)
            self._stepped = False

    def _before(self, index: int, _: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.look is not None:
            self.look.before(index, callable(kwargs.get("closure", args[1] if len(args) > 1 else None)))

    def _after(self, index: int, *_: object) -> None:
        if self.look is not None:
            self.look.after(index)

    def _first_stepped(self, *_: object) -> None:
        """The first optimizer has taken its step: an iteration is over. As short as can be where nothing is due."""
        if self.off:
            return
        governor = self.governor
        self._stepped = True
        self.passes.stepped(governor.step)
        if self.look is not None:
            self.look.after(0)
            self._guarded(self._finish)
        if governor.step + 1 < governor.wake:
            governor.step += 1
        elif action := governor.advance():
            self._guarded(self._begin, action)

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        try:
            act(*args)
        except Exception as error:
            self.fail(error)

    def _begin(self, action: Action) -> None:
        if self.off or action is Action.NOTHING:
            return
        recording, tapes = None, self.governor.tapes
        if action is Action.TAPE:
            recording = Recording(
                self.subject.model,
                self.subject.plans,
                self.subject.members,
                self._at_the_door,
                self.fail,
                taped=self.subject.tapes,
                sharded=self.subject.members.sharded,
                with_rows=tapes & (tapes - 1) == 0,
                precise=self.delivery.precise,
            )
        segment = tapes % self._segments
        thorough = recording is not None and (tapes < 3 or tapes % THOROUGH == 0 or self._altered)
        self.look = Look(self.subject, self.fail, recording, segment, thorough, self.delivery.precise)
        self._counted_before = self.passes.total
        for index, optimizer in enumerate(self.subject.optimizers):
            before = functools.partial(self._before, index)
            self._while_looking.append(optimizer.register_step_pre_hook(before))
        self.look.open()

    def _finish(self, skipped: bool = False) -> None:
        """The step that was looked at is over."""
        look, self.look = self.look, None
        if look is None:
            return
        begun, step = clock(), self.governor.step
        look.close()
        while self._while_looking:
            self._while_looking.pop().remove()
        self._segments, self.noted = look.segments + 1, step
        self._altered |= look.note.altered and not look.note.clipped
        if look.passes and self.passes.total == self._counted_before:
            self._count_on(next(self._countable(reached=True), None))
            self.passes.missed(look.passes)
        if look.recording is not None and look.recording.unheard:
            self._at_the_door = False
        values = {"backwards": float(self.passes.total), "step_seconds": begun - look.opened}
        look.note.values |= values | ({"skipped": 1.0, "nonfinite": 1.0} if skipped else {})
        self._deliver(look, step)
        self._pay(look, begun)
        self._choose_hooks(look.passes)

    def _deliver(self, look: Look, step: int) -> None:
        look.note.values["cost_seconds"] = look.cost + self._hidden(look)
        moment, trail = self.moment(step), self.passes.take()
        arrived, recording = look.note.send(), look.recording
        deliver: Callable[[], object]
        if recording is None:
            deliver = functools.partial(self.delivery.note, moment, arrived, trail)
        else:
            ranks = self.subject.ranks
            taped = recording.send(ranks.world if ranks.averaged else 1, self.subject.members.sharded)
            deliver = functools.partial(self.delivery.tape, moment, arrived, taped, trail, look.passes)
        self.writer.later(Once(deliver), trail.nbytes + (1 << 16 if recording is not None else 0), step)

    def _hidden(self, look: Look) -> float:
        """What the tape's own hooks cost inside the passes."""
        if look.recording is None or not look.recording.finished:
            return 0.0
        usual = self._usual_backward or 0.6 * look.backward
        return max(look.backward - usual, 0.0) + WINDOW_SECONDS * look.recording.windows

    def _pay(self, look: Look, begun: float) -> None:
        cost = look.cost + self._hidden(look) + clock() - begun
        if look.recording is None:
            self.governor.noted(cost)
            share = 0.2 if self._usual_backward else 1.0
            self._usual_backward += share * (look.backward - self._usual_backward)
        else:
            self.governor.taped(cost)

    def _skip(self) -> None:
        """The scaler was updated, and the optimizer hadn't stepped."""
        step = self.governor.step
        if self.look is not None:
            self._finish(skipped=True)
        else:
            moment = self.moment(step)
            self.writer.scalars(moment.step, moment.time, {"skipped": 1.0, "nonfinite": 1.0})
            self.writer.later(functools.partial(self.delivery.skip, moment, self.subject.scaling.before()), 512, step)
        self.governor.skip()

    def _news(self) -> None:
        """Before the governor decides: what the writer's thread has cost, and what it has seen."""
        seconds = self.delivery.seconds
        self.governor.charge(seconds - self._charged)
        self._charged = seconds
        if self.delivery.wish:
            self.delivery.wish = False
            self.governor.burst()
        if self.governor.step >= self._report_at:
            self._report_at = 2 * self.governor.step
            self.report()

    def rest(self) -> None:
        """Watching ends: have what is left of the trail looked at."""
        trail, moment = self.passes.take(), self.moment(self.governor.step + 1)  # a step skipped last isn't over yet
        scale = self.subject.scaling.sent() if self.subject.scaling.active else None
        deliver = functools.partial(self.delivery.rest, moment, trail, scale)
        self.writer.later(Once(deliver), trail.nbytes, moment.step)

    def report(self) -> None:
        """Say in the Run what watching costs, and how often therefore."""
        governor = self.governor
        governor.settle()
        data = governor.account()
        self.writer.event(governor.step, self.moment(0).time, "governor", governor.sentence(), data)
        self.writer.update_header({"watching": data})

    def _choose_hooks(self, passes: int) -> None:
        """As many as steps are long enough for."""
        income, countable = self.governor.income, next(self._countable(reached=True), None)
        if self.passes.by_steps and income > 3 * COUNTING_FROM:
            self._count_on(countable)
        elif income < COUNTING_FROM and passes and countable is not None and countable.numel() <= SMALL:
            if self.governor.typical and not self.subject.scaling.active and not self.passes.by_steps:
                self.passes.count_steps(countable, passes)
        elif countable is not None and not self._in_front and income > _in_front_from(countable.device):
            self._keep_in_front()

    def _keep_in_front(self) -> None:
        """Steps are long enough for one more hook: keep a gradient of the front of the network, too."""
        self._in_front = True
        small = [p for p in reversed(list(self._countable(reached=True))) if p.numel() <= SMALL]
        if len(small) > 1 and not self.subject.members.sharded:
            self.governor.hooks += IN_FRONT_SECONDS
            self.passes.keep_in_front(small[0])

    def _count_on(self, parameter: Tensor | None) -> None:
        self._in_front, self.governor.hooks = False, HOOKS_SECONDS
        scaled = self.subject.scaling.active
        self.passes.count_on(parameter, weakref.WeakMethod(self._scaler_looked_at) if scaled else None)

    def _countable(self, reached: bool = False) -> Iterator[Tensor]:
        """Parameters to count on, the best first: small, and near the loss.

        What isn't finite comes from the loss nearly always. And to hold on to the gradient of a first layer's bias cost
        10 us a step in the book's net, of a last layer's nothing: it stands in the way of other memory's reuse.
        """
        members = [m.parameter for m in reversed(self.subject.members.of(0)) if m.parameter.requires_grad]
        members = [p for p in members if not reached or p.grad is not None]
        return iter(sorted(members, key=lambda p: p.numel() > SMALL))
