"""`Watcher`: what `watch` returns."""

import math
from types import TracebackType
from typing import Self

from torch import Tensor

from undertow.record import Finding
from undertow.watching.loop_hooks import LoopHooks
from undertow.watching.online_checker import FindingListener
from undertow.watching.run_writer import RunWriter
from undertow.watching.user_log import UserLog


class Watcher:
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

        The loop has to ask: ``if watcher.stopping: break``.
        """
        return self._listener.stopping

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
        if self._hooks.off:
            return
        try:
            self._log.add(values)
        except Exception as error:
            self._hooks.fail(error)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything recorded so far is in the file; whether it is."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Stop watching, take all hooks off, and finish the file. Called again, it does nothing."""
        self._hooks.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        share = self._hooks.governor.measured
        cost = "" if math.isnan(share) else f", {100 * share:.2g} % of the time"
        return f"Watcher({self.path!r}, step {self.step}{cost}{', closed' if self._hooks.off else ''})"
