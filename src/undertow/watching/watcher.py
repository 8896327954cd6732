"""`Watcher`: what `watch` returns."""

import functools
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from undertow.record import Finding
from undertow.watching.loop_hooks import Stepper
from undertow.watching.nonfinite_detector import Moment
from undertow.watching.step_facts import numbers


class Watcher:
    """Watches a training run; made by `undertow.watch`.

    It watches until it is closed: by `close`, at the end of a ``with`` block, or when the interpreter exits. Nobody has
    to hold on to it.
    """

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper
        self._last_logged: dict[str, int] = {}

    @property
    def path(self) -> str:
        """The file that the Run is in; another one than was asked for, if there was one already."""
        return self._stepper.writer.path

    @property
    def step(self) -> int:
        """The step that is going on. The first optimizer's steps count, skipped ones too, from 0."""
        return self._stepper.governor.step

    @property
    def stopping(self) -> Finding | None:
        """The first finding that training should stop for, by what ``stop_on`` names; None before, and without it.

        The loop has to ask: ``if watcher.stopping: break``.
        """
        return self._stepper.delivery.jury.stopping

    @property
    def troubled(self) -> str | None:
        """Why nothing is recorded at the moment, or None."""
        return self._stepper.writer.troubled

    def log(self, **values: float | Tensor) -> None:
        """Put numbers of your own beside what is recorded, for the step of the last backward pass.

        Call it after ``loss.backward()``. Nobody waits for tensors. What is logged at every step, as a loss is, is kept
        at the steps that are looked at; what is logged now and then, always.

        Args:
            values: numbers by name, or tensors with one element. A ``loss`` replaces the one that was seen.

        Raises:
            ValueError: a tensor with more than one element, or with none.

        Example:
            >>> import tempfile, torch, undertow
            >>> net = torch.nn.Linear(2, 1)
            >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with undertow.watch(net, optimizer, path=f"{folder}/first.undertow") as watcher:
            ...         net(torch.ones(3, 2)).sum().backward()
            ...         optimizer.step()
            ...         watcher.log(accuracy=0.5)
            ...     undertow.open_run(f"{folder}/first.undertow").scalars["accuracy"].tolist()
            [0.5]
        """
        for name, value in values.items():
            if isinstance(value, Tensor) and value.numel() != 1:
                raise ValueError(f"{name} was logged as a tensor of shape {tuple(value.shape)}: log one number")
        stepper = self._stepper
        if stepper.off:
            return
        try:
            stepper.passes.tell_apart()
            self._log(stepper.passes.seen, values)
        except Exception as error:
            stepper.fail(error)

    def _log(self, step: int, values: Mapping[str, float | Tensor]) -> None:
        stepper = self._stepper
        looked_at = step == stepper.noted or (stepper.look is not None and step == stepper.governor.step)
        kept = {name: v for name, v in values.items() if looked_at or not self._dense(name, step)}
        self._last_logged |= dict.fromkeys(values, step)
        if not kept:
            return
        if stepper.look is not None and step == stepper.governor.step:
            stepper.look.note.log(kept)
            return
        arrived = numbers({name: [v.detach().clone()] for name, v in kept.items() if isinstance(v, Tensor)})
        known = {name: float(v) for name, v in kept.items() if not isinstance(v, Tensor)}
        stepper.writer.later(functools.partial(self._write, stepper.moment(step), known, arrived), 512, step)

    def _dense(self, name: str, step: int) -> bool:
        """Whether it was logged at the step before as well."""
        return 0 <= step - self._last_logged.get(name, -2) <= 1 or name == "loss"

    def _write(self, moment: Moment, known: Mapping[str, float], arrived: Any) -> None:
        found = {name: value[0] for name, value in arrived().items()}
        self._stepper.writer.scalars(moment.step, moment.time, {**known, **found})

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything recorded so far is in the file; whether it is."""
        return self._stepper.writer.flush(timeout)

    def close(self) -> None:
        """Stop watching, take all hooks off, and finish the file. Called again, it does nothing."""
        close(self._stepper)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        share = self._stepper.governor.measured
        cost = "" if math.isnan(share) else f", {100 * share:.2g} % of the time"
        return f"Watcher({self.path!r}, step {self.step}{cost}{', closed' if self._stepper.off else ''})"


def close(stepper: Stepper) -> None:
    """End a Run."""
    if not stepper.off:
        stepper.rest()
        stepper.report()
        stepper.writer.update_header({"ended": stepper.moment(0).time})
    stepper.detach()
    stepper.writer.close()
