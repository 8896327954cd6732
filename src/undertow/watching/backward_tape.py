"""`BackwardTape`: tapes one backward pass of a step that somebody trains."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from undertow.measure import Meter
from undertow.tape import Plans, Tape
from undertow.watching.forward_trigger import CallListener
from undertow.watching.sharding import unsharded_names
from undertow.watching.step_payload import TapedGraph

CALLS = 4096
"""More calls of the model than this before a backward pass are no training step: somebody evaluates."""

TRIES = 4
"""Backward passes of other models that are tried before the step is given up."""

Failure = Callable[[Exception], None]


class GuardedTape(Tape):
    """A tape in somebody's training: its errors are reported, not raised."""

    def __init__(self, plans: Plans, meter: Meter, failed: Failure) -> None:
        super().__init__(plans, meter)
        self._failed = failed

    def _pass(self, number: int, grad_input: Any, grad_output: Any) -> None:
        try:
            super()._pass(number, grad_input, grad_output)
        # An exception in a hook of autograd's would end the user's backward pass.
        except Exception as error:
            self._failed(error)


class BackwardTape:
    """Waits for a backward pass of the model, and tapes it.

    Args:
        model: the user's own module.
        make: returns a new tape.
        on_call: open the tape when the model is called, and not before; else at once when asked to `prepare`.
        sharded: the model computes with other tensors than the optimizer holds.
        failed: called with errors of ours.
        look: called with leaves that are no parameters of the model, and the loss.

    Attributes:
        backward: which of the step's backward passes was taped, -1 before.
        finished: whether it was taped to its end.
        unheard: the model was never called as a whole: another time, open the tape at once.
    """

    def __init__(
        self,
        model: nn.Module,
        make: Callable[[], GuardedTape],
        on_call: bool,
        sharded: bool,
        failed: Failure,
        look: Callable[[Sequence[Tensor], Tensor], None],
    ) -> None:
        self._model, self._make, self._sharded, self._look = model, make, sharded, look
        self._calls = CallListener(model, self._called, failed) if on_call else None
        self.backward, self.finished, self.unheard = -1, False, False
        self._tape: GuardedTape | None = None
        self._is_open, self._tries, self._closed = False, 0, False
        self._lock = threading.RLock()  # a model is also called on threads that don't train it

    def prepare(self) -> None:
        """Begin the part of the step whose backward pass is wanted."""
        if self.backward >= 0 or self._waits or self._is_open:
            return
        if self._calls is not None:
            self._calls.open()
        else:
            self._open()

    @property
    def _waits(self) -> bool:
        """Tell whether the model's calls are listened to: until a backward pass is taped."""
        return self._calls is not None and self._calls.waits

    def _called(self, calls: int) -> None:
        """Open the tape at the model's first call; give up where it is called far too often."""
        with self._lock:
            if self._closed or self.backward >= 0:
                return
            if not self._is_open:
                self._open()
                if self._tape is not None:
                    self._tape.within_call()
            elif calls > CALLS:
                self.close()

    def _open(self) -> None:
        self._tape = self._make()
        self._tape.open()
        self._is_open = True

    def begins(self, number: int, loss: Tensor) -> None:
        """Tape a backward pass that begins, if it is one of this model's and none was taped yet."""
        if self.backward >= 0 or self._tries >= TRIES:
            return
        if self._tape is None or not self._is_open:
            self.unheard = self._waits
            return
        if self._sharded:
            self._tape.also(unsharded_names(self._model))
        with self._lock:
            self._tape.attach(loss)
            if any(site.parameters for site in self._tape.sites):
                self.backward = number
                if not self._sharded:  # else the model computes with tensors that are nobody's
                    self._look(self._tape.other_leaves, loss)
                self._silence()
                return
            self._tries += 1
            self._tape.close()
            self._open()

    def ends(self) -> bool:
        """End a backward pass; whether it was the one that is taped."""
        if self.backward < 0 or self._tape is None or self.finished:
            return False
        self._tape.close()
        self.finished = True
        return True

    def fails(self) -> bool:
        """Forget a backward pass that ended with an error, and wait for another; whether it was the one taped."""
        if self.backward < 0 or self._tape is None or self.finished:
            return False
        self.backward, self._tries = -1, self._tries + 1
        self._tape.close()
        self._open()
        return True

    def close(self) -> None:
        """Take all hooks off; what was read stays."""
        with self._lock:
            self._silence()
            if self._tape is not None and not self.finished:
                self._tape.close()
            self._is_open, self._closed = False, True

    def _silence(self) -> None:
        if self._calls is not None:
            self._calls.close()

    @property
    def called(self) -> Collection[str]:
        """Return the modules that were called, if a backward pass was taped."""
        return self._tape.called if self._tape is not None and self.finished else ()

    @property
    def units(self) -> Mapping[str, int]:
        """Return by a weight's name which of its dimensions counts the units of its layer, as far as that is known."""
        return self._tape.plan.units if self._tape is not None and self.finished else {}

    def graph(self, plans: Plans, names: tuple[str, ...]) -> TapedGraph | None:
        """Return the graph of the backward pass that was taped, None if none was."""
        if self._tape is None or not self.finished:
            return None
        return TapedGraph(plans.readout(self._tape.plan, names), self._tape.sites, self._tape.edges)
