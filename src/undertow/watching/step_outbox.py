"""`StepOutbox`: hands what was observed to the writer's thread."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from undertow.store.rewinding import ENDED
from undertow.watching.pass_counter import PassCounter
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_observer import StepObserver
from undertow.watching.step_processor import StepProcessor
from undertow.watching.step_time import RunClock, StepTime

Numbers = Callable[[], Mapping[str, list[float]]]


class Once:
    """Is called once, and holds nothing any more: who called it may keep it for a while."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: list[Callable[[], object]] = [act]

    def __call__(self) -> object:
        """Do it."""
        return self._act.pop()()


class StepOutbox:
    """Sends steps, and what the user logs, with the time of the Run.

    Args:
        writer: of the Run.
        processor: takes what arrives, on the writer's thread.
        passes: knows the backward passes since the step before.
        clock: of the Run.
    """

    def __init__(self, writer: RunWriter, processor: StepProcessor, passes: PassCounter, clock: RunClock) -> None:
        self._writer, self._processor, self._passes, self._clock = writer, processor, passes, clock

    def send(self, observer: StepObserver) -> None:
        """Send a step that was observed."""
        when, history = self._clock.at(observer.number), self._passes.take()
        process = observer.step.send(observer.passes)
        deliver = functools.partial(process, self._processor, when, history)
        self._writer.later(Once(deliver), history.nbytes + observer.step.nbytes, when.step)

    def skipped(self, step: int, scale: Callable[[], float]) -> None:
        """Send that a step which wasn't observed was skipped, under this loss scale."""
        when = self._clock.at(step)
        self._writer.scalars(when.step, when.time, {"skipped": 1.0, "nonfinite": 1.0})
        self._writer.later(functools.partial(self._processor.skipped_step, when, scale), 512, step)

    def log(self, step: int, known: Mapping[str, float], coming: Numbers) -> None:
        """Send what the user logged for a step that isn't observed."""
        self._writer.later(functools.partial(_write, self._writer, self._clock.at(step), known, coming), 512, step)

    def trouble(self, step: int, text: str, error: Exception) -> None:
        """Send that something of ours went wrong."""
        self._writer.event(step, self._clock.now(), "trouble", text, {"error": repr(error)})

    def finish(self, step: int, scale: Callable[[], float] | None) -> None:
        """Have the passes looked at that nobody observed: watching ends before this step is over."""
        history, when = self._passes.take(), self._clock.at(step)
        deliver = functools.partial(self._processor.finish, when, history, scale)
        self._writer.later(Once(deliver), history.nbytes, when.step)

    def end(self, step: int, steps: int, idle: int, before: int) -> None:
        """Say in the header where watching ended, and how many backward passes were made without a step after them.

        Args:
            step: that is going on.
            steps: since watching began.
            idle: passes without a step after them.
            before: passes before watching began.
        """
        usual = max((self._passes.total - before - idle) / steps, 0.0) if steps else 0.0
        told = {"passes": idle, "usual": usual, "step": step, "steps": steps}
        reached = {"step": step, "backwards": self._passes.total - idle}
        self._writer.update_header({"ended": self._clock.now(), "idle passes": told, ENDED: reached})

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def _write(writer: RunWriter, when: StepTime, known: Mapping[str, Any], coming: Numbers) -> None:
    found = {name: value[0] for name, value in coming().items()}
    writer.scalars(when.step, when.time, {**known, **found})
