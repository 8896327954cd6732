"""A step that is taped: one backward pass under the tape, and what the optimizer made of it."""

import math
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from undertow.columns import Column
from undertow.measure import Columns, Meter, Readout
from undertow.record import Edge, Site
from undertow.tape import Plans, Tape
from undertow.watching.members import Member, Members, local, unsharded_names
from undertow.watching.notes import norms
from undertow.watching.sampling import Moved, Step

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
        """The model is called."""
        if torch.is_grad_enabled():
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
    _steps: list[tuple[list[int], Step]] = field(default_factory=list)
    _moved: list[tuple[list[int], Callable[[], Moved]]] = field(default_factory=list)
    _names: tuple[str, ...] = ()
    _unreached: list[str] = field(default_factory=list)
    _lr: dict[int, Any] = field(default_factory=dict)

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
        self._meter.inflow = self.with_rows and not self.sharded
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

    def take_gradients(self, members: Sequence[Member]) -> dict[int, Tensor]:
        """The optimizer is about to step: what it takes, and what the weights are before.

        Returns:
            The norms of the gradients, by place among ``members``.
        """
        self._names = self._names or self.members.names
        places = {name: place for place, name in enumerate(self._names)}
        at = [n for n, m in enumerate(members) if m.parameter.grad is not None and m.name in places]
        self._unreached += [m.name for m in members if m.parameter.grad is None and m.parameter.requires_grad]
        mine = [(places[members[n].name], members[n]) for n in at]
        found = norms([m.parameter.grad for _, m in mine if m.parameter.grad is not None])
        for (place, _), norm in zip(mine, found, strict=True):
            self._meter.take("grad of parameter", place, norm)
        self._take_weights(mine)
        for place, m in mine:
            self._take_rows(place, local(m.parameter.detach()))
            self._lr[place] = m.lr
            if not m.counts:
                self._meter.note("copy", place, 1.0)
        self._steps.append(([place for place, _ in mine], Step([m.parameter for _, m in mine])))
        return dict(zip(at, found, strict=True))

    def _take_weights(self, mine: Sequence[tuple[int, Member]]) -> None:
        """Norms of the weights; those that the tape took need not be taken again."""
        left = []
        for place, m in mine:
            norm = self._meter.known_norm(id(m.parameter))
            if norm is None:
                left.append((place, m.parameter))
            else:
                self._meter.take("parameter", place, norm)
        for (place, _), norm in zip(left, norms([p for _, p in left]), strict=True):
            self._meter.take("parameter", place, norm)

    def _take_rows(self, place: int, weight: Tensor) -> None:
        if weight.dim() > 1 and self.with_rows and weight.numel() and not weight.is_complex():
            self._meter.norm("sum of rows", place, weight.sum(0))
            self._meter.note("units of parameter", place, len(weight))
        elif weight.dim() == 1 and self._meter.inflow and weight.numel():
            self._meter.weight_norm("bias", place, weight, None)
            self._meter.note("biases", place, len(weight))

    def stepped(self) -> None:
        """The optimizer has stepped."""
        for places, step in self._steps:
            self._moved.append((places, step.finish()))
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

    def send(self, world: int, partial: bool) -> Callable[[float, float], "Taped"]:
        """Start the transfers; what is returned, given the scale and the divisor, waits for them."""
        tape = self._tape if self.finished else None
        meter, moved, names = self._meter.send(), list(self._moved), tuple(self._names or self.members.names)
        sites, edges = (tape.sites, tape.edges) if tape is not None else ((), ())
        readout = self.plans.readout(tape.plan, names) if tape is not None else Readout((), (), names)
        backward, unreached = self.backward, tuple(self._unreached) if tape is not None else None
        idle = tuple(name for name in self._unreached if tape is not None and not _ran(name, tape.called))
        lrs = {place: float(lr) for place, lr in self._lr.items() if not isinstance(lr, Tensor)}

        def arrived(scale: float, divisor: float) -> Taped:
            read = meter()
            _divide(read, "grad of parameter", divisor)
            read["ascent"], read["step"] = {}, {}
            for places, values in moved:
                for at, (step, inner) in values().items():
                    read["step"][places[at]], read["ascent"][places[at]] = step, inner / divisor
            measured = readout.columns(read)
            with np.errstate(all="ignore"):  # numbers of a training that diverges overflow, and that is to be seen
                _unscale(measured, scale, world, sites, edges)
                parameters = _of_parameters(read, lrs, len(names), partial)
            return Taped(sites, edges, measured, names, parameters, backward, unreached, idle)

        return arrived


@dataclass(frozen=True, slots=True)
class Taped:
    """What was read: of the Sites and edges, and of the parameters, each column [parameters].

    Attributes:
        backward: which of the step's backward passes it was.
        unreached: parameters that require grad and got none, of the optimizers that stepped; None if nothing was taped.
        idle: those of them whose modules weren't run.
    """

    sites: tuple[Site, ...]
    edges: tuple[Edge, ...]
    measured: Columns
    names: tuple[str, ...]
    parameters: dict[str, Column]
    backward: int = 0
    unreached: tuple[str, ...] | None = None
    idle: tuple[str, ...] = ()


def _ran(name: str, called: Collection[str]) -> bool:
    """Whether the module that holds a parameter was called."""
    return name.replace("_orig_mod.", "").rpartition(".")[0] in called


def _weakly(method: "weakref.WeakMethod[Callable[[], None]]") -> Callable[[], None]:
    def ring() -> None:
        alive = method()
        if alive is not None:
            alive()

    return ring


def _divide(read: Mapping[str, dict[int, float]], name: str, divisor: float) -> None:
    for place in read.get(name, {}):
        read[name][place] /= divisor


def _unscale(measured: Columns, scale: float, world: int, sites: Sequence[Site], edges: Sequence[Edge]) -> None:
    """Gradients of the loss itself (a parameter's was unscaled when it was read).

    Under data parallelism each process has one part of a mean.
    """
    # Of the loss, a single number, there is one all together and not one for each process.
    received = np.array([world if site.shape else math.sqrt(world) for site in sites])
    along = received[[edge.target for edge in edges]]
    passed = np.ones(len(sites))
    passed[[edge.source for edge in edges]] = along
    measured.by_site["grad_output"] /= scale * received
    measured.by_site["grad_input"] /= scale * passed
    measured.by_site["learning_speed"] /= scale
    measured.by_edge["contribution"] /= scale * along


def _of_parameters(
    read: Mapping[str, Mapping[int, float]], lrs: Mapping[int, float], size: int, partial: bool
) -> dict[str, Column]:
    def column(name: str) -> Column:
        found = np.full(size, np.nan)
        for place, value in read.get(name, {}).items():
            found[place] = value
        return found

    grad, step, weight, descent = column("grad of parameter"), column("step"), column("parameter"), -column("ascent")
    for place in read.get("copy", {}):  # another process answers for it
        grad[place] = step[place] = weight[place] = descent[place] = 0.0
    total = float(np.nansum(descent))
    share = descent if partial else descent / total if total > 0 else np.full(size, math.nan)
    lr = np.full(size, np.nan)
    for place, value in lrs.items():
        lr[place] = value
    ratio = np.where(weight > 0, step / weight, np.nan)
    found = {"grad_norm": grad, "update_norm": step, "weight_norm": weight, "update_ratio": ratio}
    return {name: each.astype(np.float32) for name, each in (found | {"progress": share, "lr": lr}).items()}
