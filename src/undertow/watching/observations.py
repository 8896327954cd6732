"""`Observations` begins and finishes the steps that are observed; `ObservationCosts` charges them to the governor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from undertow.tape.copying import Hook
from undertow.tape.uncompiled import uncompiled, untraced
from undertow.watching.full_step import FullStep
from undertow.watching.governor import Action, Governor
from undertow.watching.pass_counter import PassCounter
from undertow.watching.pass_placement import PassPlacement
from undertow.watching.step_observer import StepObserver
from undertow.watching.step_outbox import StepOutbox
from undertow.watching.step_planner import StepPlanner
from undertow.watching.step_time import clock
from undertow.watching.watch_target import WatchTarget
from undertow.watching.weight_changes import WeightChanges

WINDOW_SECONDS = 4e-6
"""What the hooks around a module's call cost, which no clock of ours can see."""

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

FULL_SHARE = 0.6
"""The part of a taped backward pass that it would take without the tape, as long as nobody knows."""


class ObservationCosts:
    """Estimates what observing costs: what the observer timed, and what the tape's own hooks cost inside the passes.

    Args:
        governor: charged with it.

    Attributes:
        usual_backward: seconds that backward passes take without the tape; 0 as long as nobody knows.
    """

    def __init__(self, governor: Governor) -> None:
        self._governor = governor
        self.usual_backward = 0.0

    def hidden(self, observer: StepObserver) -> float:
        """Estimate the seconds that the tape's hooks cost inside the passes."""
        if observer.step.windows is None:
            return 0.0
        backward = observer.timer.backward
        usual = self.usual_backward or FULL_SHARE * backward
        return max(backward - usual, 0.0) + WINDOW_SECONDS * observer.step.windows

    def so_far(self, observer: StepObserver) -> float:
        """Estimate the seconds that a step has cost, without what is done to finish it."""
        return observer.timer.cost + self.hidden(observer)

    def pay(self, observer: StepObserver, finishing: float) -> None:
        """Charge the governor for a step; ``finishing``: the clock's time when it began to be finished."""
        cost = self.so_far(observer) + clock() - finishing
        if isinstance(observer.step, FullStep):
            self._governor.full_step(cost)
            return
        self._governor.light_step(cost)
        share = 0.2 if self.usual_backward else 1.0
        self.usual_backward += share * (observer.timer.backward - self.usual_backward)


@dataclass(eq=False)
class Observations:
    """Attaches an observer at a step that is to be observed, and sends what it read when the step is over.

    Args:
        target: what is watched.
        planner: says how a step is to be read.
        costs: charges the governor.
        passes: counts backward passes.
        placement: chooses what they are counted on.
        outbox: takes what was read.

    Attributes:
        current: observes the step that is going on, None if it isn't observed.
        last: the last step that was observed to its end.
        changes: tells of weights that change without a step.
    """

    target: WatchTarget
    planner: StepPlanner
    costs: ObservationCosts
    passes: PassCounter
    placement: PassPlacement
    outbox: StepOutbox
    current: StepObserver | None = None
    last: int = -1
    changes: WeightChanges | None = None
    _handles: list[RemovableHandle] = field(default_factory=list)

    def begin(self, number: int, action: Action, failed: Callable[[Exception], None]) -> None:
        """Begin to observe a step."""
        planner = self.planner
        step = planner.full_step(failed) if action is Action.FULL else planner.light_step()
        self.current = StepObserver(number, self.target, step, failed)
        self.placement.mark()
        for index, optimizer in enumerate(self.target.optimizers):
            self._handles.append(optimizer.register_step_pre_hook(Hook(self._before, index)))
            # After its own: of one that steps others, these are heard only where they are stepped alone.
            for each in self.target.bases[index]:
                self._handles.append(each.register_step_pre_hook(Hook(self._before, index)))
        self.current.open()

    @untraced
    def _before(self, index: int, _: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        observer = self.current
        if observer is None:
            return None
        named = "closure" in kwargs
        closure = kwargs["closure"] if named else args[1] if len(args) > 1 else None
        uncompiled(observer.before, index, callable(closure))
        if not callable(closure):
            return None
        heard = self._followed(index, closure)
        return (args, {**kwargs, "closure": heard}) if named else ((args[0], heard, *args[2:]), kwargs)

    def _followed(self, index: int, closure: Callable[..., Any]) -> Callable[..., Any]:
        """Follow a closure by a look at what it has left for the optimizer to take, clipped and all."""

        def closure_and_look(*args: Any, **kwargs: Any) -> Any:
            result = closure(*args, **kwargs)
            if self.current is not None:
                self.current.take(index)
            return result

        return closure_and_look

    def after(self, index: int) -> None:
        """Hear that an optimizer has stepped."""
        if self.current is not None:
            self.current.after(index)

    def finish(self, skipped: bool = False) -> None:
        """Send the step that was observed: it is over."""
        observer, self.current = self.current, None
        if observer is None:
            return
        finishing = clock()
        observer.close()
        observer.settle()
        self.remove_hooks()
        self.last = observer.number
        if not skipped:
            self._see_change(observer.number)
        self.planner.learn(observer)
        self.placement.check(observer.passes)
        self._add_counts(observer, finishing, skipped)
        self.outbox.send(observer)
        self.costs.pay(observer, finishing)
        self.placement.choose(observer.passes)

    def _see_change(self, step: int) -> None:
        """Follow the weight that backward passes are counted on."""
        weight = self.placement.on
        if weight is not None and (self.changes is None or self.changes.weight is not weight):
            self.changes = WeightChanges(weight)
        if self.changes is not None:
            self.changes.stepped(step)

    def _add_counts(self, observer: StepObserver, finishing: float, skipped: bool) -> None:
        values = observer.facts.values
        values |= {"backwards": float(self.passes.total), "step_seconds": finishing - observer.timer.opened}
        values |= {"skipped": 1.0, "nonfinite": 1.0} if skipped else {}
        values["cost_seconds"] = self.costs.so_far(observer)

    def is_observed(self, step: int) -> bool:
        """Tell whether a step is observed, or was the last one that was."""
        return step == self.last or (self.current is not None and step == self.current.number)

    def log(self, step: int, values: Mapping[str, float | Tensor]) -> bool:
        """Add what the user logs to the step that is being observed; whether it is this one."""
        if self.current is None or step != self.current.number or not self.target.thread.is_here():
            return False
        self.current.facts.log(values)
        return True

    def abandon(self) -> None:
        """Forget the step that is going on. Optimizers' hooks stay: they can't change while they are run."""
        observer, self.current = self.current, None
        if observer is not None:
            observer.close()

    def remove_hooks(self) -> None:
        """Take off the hooks of the step that was observed."""
        while self._handles:
            self._handles.pop().remove()
