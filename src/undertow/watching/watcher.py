"""`Watcher`, which `watch` returns, and `UserLog`, its ``log``: numbers of the user's own beside a step's."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from undertow.record import Finding
from undertow.store.closing import Closing
from undertow.watching.agreement import agreed
from undertow.watching.loop_hooks import LoopHooks
from undertow.watching.observations import Observations
from undertow.watching.online_checker import FindingListener
from undertow.watching.pass_counter import PassCounter
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_facts import send_named
from undertow.watching.step_outbox import StepOutbox
from undertow.watching.writer_thread import warn_or_log

TAKEN = ("step", "time")
"""Names that nobody may log."""


class UserLog:
    """Takes numbers for the step of the last backward pass.

    What is logged at every step, as a loss is, is kept at observed steps; what is logged now and then, always.

    Args:
        passes: knows which step that is.
        observations: knows which steps are observed.
        outbox: takes the numbers of the others.
    """

    def __init__(self, passes: PassCounter, observations: Observations, outbox: StepOutbox) -> None:
        self._passes, self._observations, self._outbox = passes, observations, outbox
        self._last: dict[str, int] = {}
        self._refused: set[str] = set()

    def add(self, given: Mapping[str, float | Tensor]) -> None:
        """Add numbers by name, or tensors of one element; what is neither is left out, and told once."""
        values = {name: number for name, v in given.items() if (number := self._number(name, v)) is not None}
        self._passes.tell_apart()
        if "loss" in values:
            self._passes.logged()
        step = self._passes.seen
        observed = self._observations.is_observed(step)
        kept = {name: v for name, v in values.items() if observed or not self._is_dense(name, step)}
        self._last |= dict.fromkeys(values, step)
        if not kept or self._observations.log(step, kept):
            return
        coming = send_named({name: [v.detach().clone()] for name, v in kept.items() if isinstance(v, Tensor)})
        known = {name: float(v) for name, v in kept.items() if not isinstance(v, Tensor)}
        self._outbox.log(step, known, coming)

    def _number(self, name: str, value: object) -> float | Tensor | None:
        """Return a number or a tensor of one, None where it is none."""
        try:
            if name in TAKEN:
                raise ValueError(f"every row has a {name} of its own")
            if isinstance(value, str | bytes | bytearray):
                raise TypeError(f"{value!r} is no number")
            if not isinstance(value, Tensor):
                return float(value)  # type: ignore[arg-type]  # or TypeError
            if value.is_complex() or value.is_meta or value.layout is not torch.strided:
                raise TypeError(f"a tensor that is complex, sparse or without data is no number ({value.dtype})")
        except Exception as error:  # whatever it is that somebody logs
            if name not in self._refused:
                self._refused.add(name)
                warn_or_log(f"undertow: {name} isn't recorded: {error}. Log numbers, or tensors of one.")
            return None
        return value if value.numel() == 1 else None

    def _is_dense(self, name: str, step: int) -> bool:
        """Tell whether a number was logged at the step before as well."""
        return 0 <= step - self._last.get(name, -2) <= 1 or name == "loss"


class Watcher(Closing):
    """Watches a training run; made by `undertow.watch`.

    It watches until it is closed: by `close`, at the end of a ``with`` block, or when the interpreter exits. Nobody has
    to hold on to it.
    """

    def __init__(self, hooks: LoopHooks, writer: RunWriter, listener: FindingListener, log: UserLog) -> None:
        self._hooks, self._writer, self._listener, self._log = hooks, writer, listener, log

    @property
    def path(self) -> str:
        """Return the file that the Run is in; another one than was asked for, if there was one already."""
        return self._writer.path

    @property
    def step(self) -> int:
        """Return the step that is going on. The first optimizer's steps count, skipped ones too, from 0."""
        return self._hooks.governor.step

    @property
    def stopping(self) -> Finding | None:
        """Return the first finding to stop for, by what ``stop_on`` names; None before, and without it.

        The loop has to ask: ``if watcher.stopping: break``. With several processes each has its own answer, some steps
        apart: ask `agree_to_stop` there.
        """
        return self._listener.stopping

    def agree_to_stop(self) -> Finding | None:
        """Ask all processes that train together, and return the finding to stop for: the same one in each of them.

        This is a collective, and waits: every process has to call it, after the same step. A tenth of the steps is
        often enough: ``if step % 10 == 0 and watcher.agree_to_stop(): break``. In one process it is ``stopping``.
        """
        return agreed(self.stopping)

    @property
    def closed(self) -> bool:
        """Tell whether watching has ended: closed, or given up with a warning."""
        return self._hooks.off

    @property
    def troubled(self) -> str | None:
        """Say why nothing is recorded at the moment; None if all is well."""
        return self._writer.troubled

    def log(self, **values: float | Tensor) -> None:
        """Put numbers of your own beside what is recorded, for the step of the last backward pass.

        Call it after ``loss.backward()``. Nobody waits for tensors. What is logged at every step, as a loss is, is kept
        at the steps that are looked at; what is logged now and then, always.

        Args:
            values: numbers by name, or tensors with one element. A ``loss`` replaces the one that was seen.

        A value that is no number (a text, None) is left out, with one warning, and so is a name that is a row's own
        (``step``, ``time``); the other values are recorded.

        Raises:
            ValueError: a tensor with more than one element, or with none; the other values are recorded.

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
        if not self._hooks.off:
            try:
                self._hooks.look_for_another_optimizer()
                self._log.add(values)
            except Exception as error:
                self._hooks.fail(error)
        for name, value in values.items():
            if isinstance(value, Tensor) and value.numel() != 1:
                raise ValueError(f"{name} was logged as a tensor of shape {tuple(value.shape)}: log one number")

    def before_step(
        self,
        parameters: Iterable[Tensor] | None = None,
        lr: float | Tensor | Callable[[], float | Tensor] | None = None,
        *,
        gradients: Iterable[Tensor | None] | None = None,
        unclipped: Sequence[Tensor] = (),
    ) -> None:
        """Tell that a step is about to be taken by an optimizer that isn't torch's; for ``watch(model, None)``.

        Args:
            parameters: that it steps, their gradients in ``.grad``; by default all that require grad.
            lr: its learning rate, or a function that computes it, called where it is recorded.
            gradients: that it takes, one for each of ``parameters`` (None: that in ``.grad``), where it takes copies,
                clipped or averaged.
            unclipped: the same before they were clipped, as far as they were.

        Raises:
            ValueError: the optimizer that is watched is torch's, and tells of its steps by itself.

        Example:
            >>> import tempfile, torch, undertow
            >>> net = torch.nn.Linear(2, 1)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with undertow.watch(net, None, path=f"{folder}/first.undertow", every=1) as watcher:
            ...         for _ in range(3):
            ...             net.zero_grad()
            ...             net(torch.ones(3, 2)).sum().backward()
            ...             watcher.before_step(lr=0.1)
            ...             with torch.no_grad():
            ...                 for p in net.parameters():
            ...                     p -= 0.1 * p.grad
            ...             watcher.after_step()
            ...     run = undertow.open_run(f"{folder}/first.undertow")
            >>> run.scalars["lr"].tolist(), bool((run.parameter_columns["update_norm"] > 0).all())
            ([0.1, 0.1, 0.1], True)
        """
        self._hooks.manual_step(parameters, lr, gradients, unclipped)

    def after_step(self) -> None:
        """Tell that the step was taken that `before_step` told of.

        Raises:
            ValueError: the optimizer that is watched is torch's, and tells of its steps by itself.
        """
        self._hooks.manual_optimizer().after()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled, with the module or the callback that holds it, as a watcher that is closed."""
        return ClosedWatcher, (self.path, self.step)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything recorded so far is in the file; whether it is."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Stop watching, take all hooks off, and finish the file. Called again, it does nothing."""
        self._hooks.finish()

    def __repr__(self) -> str:
        share = self._hooks.governor.measured
        cost = "" if math.isnan(share) else f", {100 * share:.2g} % of the time"
        return f"Watcher({self.path!r}, step {self.step}{cost}{', closed' if self._hooks.off else ''})"


class ClosedWatcher(Watcher):
    """A copy of a watcher: it knows where the Run is and how far it went, and records nothing.

    Args:
        path: of the Run.
        step: that was going on when it was copied.
    """

    def __init__(self, path: str, step: int) -> None:
        self._path, self._step = path, step

    @property
    def path(self) -> str:
        """Return the file that the Run is in."""
        return self._path

    @property
    def step(self) -> int:
        """Return the step that was going on when the watcher was copied."""
        return self._step

    @property
    def stopping(self) -> Finding | None:
        """Return None: nothing is judged."""
        return None

    @property
    def closed(self) -> bool:
        """Tell that it is."""
        return True

    @property
    def troubled(self) -> str | None:
        """Say that nothing is recorded."""
        return "it is a copy of a watcher: watch the model anew"

    def log(self, **values: float | Tensor) -> None:
        """Record nothing."""

    def before_step(
        self,
        parameters: Iterable[Tensor] | None = None,
        lr: float | Tensor | Callable[[], float | Tensor] | None = None,
        *,
        gradients: Iterable[Tensor | None] | None = None,
        unclipped: Sequence[Tensor] = (),
    ) -> None:
        """Record nothing."""

    def after_step(self) -> None:
        """Record nothing."""

    def flush(self, timeout: float = 10.0) -> bool:
        """Return False: nothing waits, and nothing is written."""
        del timeout
        return False

    def close(self) -> None:
        """Do nothing: it is closed."""

    def __repr__(self) -> str:
        return f"Watcher({self._path!r}, step {self._step}, closed)"
