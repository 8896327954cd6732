"""A step that is taped: one backward pass under the tape, and what the optimizer made of it."""

import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from undertow.measure import Meter, Part, Readout
from undertow.tape import Plans, Tape
from undertow.watching.step_facts import norms
from undertow.watching.step_payload import Sheet
from undertow.watching.updated_parameters import Roster
from undertow.watching.watched_parameters import Members, parts, unsharded_names

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
        except Exception as error:
            self._failed(error)


class Doorbell:
    """A forward pre-hook that rings when the model is called to be trained. Copied or pickled it does nothing."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def __call__(self, *_: object) -> None:
        """The model is called; perhaps by a function that is being compiled, which our own must not become part of."""
        if not torch.compiler.is_compiling() and torch.is_grad_enabled():
            self._ring()

    def __reduce__(self) -> tuple[Any, ...]:
        return _silent, ()


def _silent() -> Callable[..., None]:
    return _nothing


def _nothing(*_: object) -> None:
    """A hook that does nothing."""


@dataclass
class Recording:
    """Reads everything at one step.

    Args:
        model: the user's own module.
        plans: what steps before found out about its graph.
        members: all parameters watched.
        at_the_door: begin to look when the model is called, and not before; else at once when asked to `prepare`.
        failed: told of errors.
        taped: tape a backward pass; else only the optimizer's step is read.
        sharded: the model computes with other tensors than the optimizer holds.
        with_rows: also see how alike a layer's units are, and what theory asks for: biases, and what comes into layers.
        precise: numbers are so small or large that float32 can't hold their squares.

    Attributes:
        backward: which of the step's backward passes was taped, -1 before.
        unheard: the model was never called as a whole: another time, begin at once.
        finished: whether a backward pass was taped to its end.
        windows: modules that were called.
    """

    model: nn.Module
    plans: Plans
    members: Members
    at_the_door: bool
    failed: Failure
    taped: bool = True
    sharded: bool = False
    with_rows: bool = False
    precise: bool = False
    backward: int = -1
    unheard: bool = False
    finished: bool = False
    windows: int = 0
    _meter: Meter = field(default_factory=Meter)
    _tape: GuardedTape | None = None
    _open: bool = False
    _tries: int = 0
    _calls: int = 0
    _bell: RemovableHandle | None = None
    _steps: list[Roster] = field(default_factory=list)
    _moves: list[Callable[[], Part]] = field(default_factory=list)
    _rates: list[tuple[Roster, list[Any]]] = field(default_factory=list)
    _unreached: list[str] = field(default_factory=list)
    _names: Sequence[str] = ()

    def prepare(self) -> None:
        """The part of the step begins whose backward pass is wanted."""
        if not self.taped or self.backward >= 0 or self._bell is not None or self._open:
            return
        if self.at_the_door:
            ring = weakref.WeakMethod(self._rung)
            self._bell = self.model.register_forward_pre_hook(Doorbell(_weakly(ring)), prepend=True)
        else:
            self._look()

    def _rung(self) -> None:
        try:
            self._calls += 1
            if not self._open:
                self._look()
            elif self._calls > CALLS:
                self.close()
        except Exception as error:
            self.failed(error)

    def _look(self) -> None:
        self._meter.inflow, self._meter.lasting = self.with_rows and not self.sharded, not self.sharded
        self._meter.verify, self._meter.precise = self.with_rows, self.precise
        self._tape = GuardedTape(self.plans, self._meter, self.failed)
        self._tape.open()
        self._open = True

    def begins(self, number: int, loss: Tensor) -> None:
        """A backward pass begins: tape it, if it is one of this model's and none was taped yet."""
        if self.backward >= 0 or self._tries >= TRIES:
            return
        if self._tape is None or not self._open:
            self.unheard = self._bell is not None
            return
        if self.sharded:
            self._tape.also(unsharded_names(self.model))
        self._tape.attach(loss)
        if any(site.parameters for site in self._tape.sites):
            self.backward = number
            self._silence()
            return
        self._tries += 1
        self._tape.close()
        self._look()

    def ends(self) -> None:
        """It is over."""
        if self.backward >= 0 and self._tape is not None and not self.finished:
            self.windows = len(self._tape.called)
            self._tape.close()
            self._meter.settle()  # before the optimizer changes the weights
            self.finished = True

    def take_gradients(self, roster: Roster, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """The optimizer is about to step: what it takes, and what the weights are before.

        Returns:
            The norms of the gradients.
        """
        self._names = self._names or roster.watched
        roster = roster if roster.watched == self._names else roster.among(self._names)
        gradients = roster.reached(gradients)
        self._unreached += roster.unreached
        found = norms(gradients, self.precise)
        self._meter.take_each(roster.labels, found)
        self._take_weights(roster)
        if self.with_rows:
            for place, weight in zip(roster.places.tolist(), parts(roster.parameters), strict=True):
                self._take_rows(place, weight)
        for place in roster.copies:
            self._meter.note("copy", place, 1.0)
        roster.before(gradients)
        self._rates.append((roster, roster.rates))
        self._steps.append(roster)
        return found

    def _take_weights(self, roster: Roster) -> None:
        """Norms of the weights; those that the tape took need not be taken again."""
        known = [self._meter.known_norm(identity) for identity in roster.identities]
        left = iter(norms([p for p, norm in zip(roster.parameters, known, strict=True) if norm is None]))
        self._meter.take_each(roster.weighed, [next(left) if norm is None else norm for norm in known])

    def _take_rows(self, place: int, weight: Tensor) -> None:
        if weight.dim() > 1 and weight.numel() and not weight.is_complex():
            self._meter.norm("sum of rows", place, weight.sum(0))
            self._meter.note("units of parameter", place, len(weight))
        elif weight.dim() == 1 and self._meter.inflow and weight.numel():
            self._meter.weight_norm("bias", place, weight, None)
            self._meter.note("biases", place, len(weight))

    def stepped(self) -> None:
        """The optimizer has stepped."""
        for roster in self._steps:
            self._moves += roster.after()
        self._steps.clear()

    def close(self) -> None:
        """Take all hooks off; what was read stays."""
        self._silence()
        if self._tape is not None and not self.finished:
            self._tape.close()
        self._open = False
        self._steps.clear()

    def _silence(self) -> None:
        if self._bell is not None:
            self._bell.remove()
            self._bell = None

    def send(self, world: int, partial: bool) -> Sheet:
        """Start the transfers."""
        names = tuple(self._names or self.members.names)
        coming, moves, rates = self._meter.send(), self._moves, self._rates
        tape = self._tape if self.finished else None
        if tape is None:
            return Sheet(Readout((), (), names), (), (), names, world, partial, coming, moves, rates, self.backward)
        readout, sites, edges = self.plans.readout(tape.plan, names), tape.sites, tape.edges
        sheet = Sheet(readout, sites, edges, names, world, partial, coming, moves, rates, self.backward)
        sheet.unreached = tuple(self._unreached)
        sheet.idle = tuple(name for name in self._unreached if not _ran(name, tape.called))
        return sheet


def _ran(name: str, called: Collection[str]) -> bool:
    """Whether the module that holds a parameter was called."""
    return name.replace("_orig_mod.", "").rpartition(".")[0] in called


def _weakly(method: "weakref.WeakMethod[Callable[[], None]]") -> Callable[[], None]:
    def ring() -> None:
        alive = method()
        if alive is not None:
            alive()

    return ring
