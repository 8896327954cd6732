"""Hooks on every Node of one backward pass, which turn what passes into Signals."""

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from undertow.measure import Columns, Convolution, Meter, Signal, columns, measure
from undertow.record import Edge, Role, Run, Site
from undertow.tape import facts
from undertow.tape.graph import walk
from undertow.tape.sites import Plan, Tap, plan
from undertow.tape.windows import Windows

Gradients = tuple[Tensor | None, ...]
Listener = Callable[[Signal, Meter], None]


class Tape:
    """Reads one forward and backward pass of a model. Use it once.

    Nothing is changed: not a bit of any gradient, no buffer, no random number. All hooks are gone when the ``with``
    block ends, however it ends; a graph that is never backpropagated is freed as if nobody had looked.

    Attributes:
        sites: known once a loss is attached.
        edges: the same.
        other_leaves: tensors that take gradient but are no parameters of the model.

    Args:
        model: its modules give the Sites their names.
        meter: where numbers are collected.
        listener: what is done with each Signal; reduces it into ``meter`` unless told otherwise.
        unroll: let RNN modules run step by step instead of in one fused kernel, so that each step is a Site.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> with Tape(net) as tape:
        ...     loss = net(torch.ones(5, 3)).square().mean()
        ...     tape.attach(loss)
        ...     loss.backward()
        >>> [f"{site.module} {site.op}" for site in tape.sites]
        [' mean', ' pow', '2 addmm', '1 tanh', '0 addmm']
        >>> speed = tape.columns().by_site["learning_speed"]
        >>> bool(abs(speed[-1] - net[0].bias.grad.norm()) < 1e-6)
        True
    """

    def __init__(
        self, model: nn.Module, meter: Meter | None = None, listener: Listener = measure, unroll: bool = False
    ) -> None:
        self.meter = meter or Meter()
        self.sites: list[Site] = []
        self.edges: list[Edge] = []
        self.other_leaves: list[Tensor] = []
        self._names = {id(p): name for name, p in reversed(list(model.named_parameters()))}
        self._listener = listener
        self._windows = Windows(model, unroll)
        self._plan = Plan([], [], [], [])
        self._handles: list[RemovableHandle] = []
        self._captured: dict[int, Tensor] = {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """What ``with`` does at its beginning."""
        self._windows.open()

    def close(self) -> None:
        """Remove every hook and let go of the graph."""
        self._windows.close()
        self._windows.abandon()
        while self._handles:
            self._handles.pop().remove()
        self._captured.clear()
        self.other_leaves.clear()
        self._plan.release()

    def attach(self, loss: Tensor) -> None:
        """Hook the graph behind a loss. From here on modules that are called are not looked at any more.

        Raises:
            ValueError: no gradient can flow from ``loss``.
        """
        if loss.grad_fn is None:
            raise ValueError("the loss has no grad_fn: nothing that requires grad went into it")
        self._windows.close()
        vertices = walk(loss.grad_fn, self._names)
        self._plan = plan(vertices, self._windows.index(), self._names)
        self.sites, self.edges = self._plan.sites, self._plan.edges
        self.other_leaves = [v.leaf for v in vertices if v.leaf is not None and not v.on_weights]
        # The hook holds no Node and no tape: a cycle through C++ is never collected.
        tape = weakref.ref(self)
        for number, tap in enumerate(self._plan.taps):
            self._handles.append(tap.vertex.node.register_hook(_hook(tape, number)))

    def also(self, names: Mapping[int, str]) -> None:
        """More tensors to call parameters, by ``id``: sharded models compute with others than they name."""
        self._names.update(names)

    @property
    def called(self) -> frozenset[str]:
        """Paths of the modules that were called, from beginning to end, before the loss was attached."""
        return self._windows.called

    def columns(self, names: Sequence[str] = ()) -> Columns:
        """Everything measured, off the devices. ``names``: see `undertow.measure.columns`."""
        return columns(self.meter.read(), self.sites, self.edges, names)

    def run(self, header: dict[str, Any] | None = None, names: Sequence[str] = ()) -> Run:
        """This one pass as a Run of one step."""
        step = self.columns(names)
        return Run(
            header or {},
            tuple(self.sites),
            tuple(self.edges),
            {name: column[None] for name, column in step.by_site.items()},
            {name: column[None] for name, column in step.by_edge.items()},
        )

    def _pass(self, number: int, grad_input: Gradients, grad_output: Gradients) -> None:
        tap = self._plan.taps[number]
        for slot, edge in tap.captures:
            gradient = grad_input[slot]
            if gradient is not None:
                self._captured[edge] = gradient
        if tap.site < 0:
            return
        with torch.no_grad() if torch.is_grad_enabled() else nullcontext():
            self._listener(self._signal(tap, grad_input, grad_output), self.meter)

    def _signal(self, tap: Tap, grad_input: Gradients, grad_output: Gradients) -> Signal:
        signal = Signal(tap.site, [g for g in grad_output if g is not None], self._arrived(tap, grad_output))
        signal.features = tap.features
        if tap.role is Role.WEIGHT:
            signal.learns = True
            if tap.weight is not None:
                _add_weight(signal, tap, tap.weight, grad_input)
        elif tap.role is Role.ACTIVATION:
            signal.derivative = facts.derivative(tap.vertex)
            signal.peak, signal.bounded = facts.PEAKS.get(tap.vertex.op, 1.0), facts.bounded(tap.vertex)
        return signal

    def _arrived(self, tap: Tap, grad_output: Gradients) -> list[tuple[int, Tensor, Tensor]]:
        arrived = []
        for edge, output in tap.arrivals:
            contribution, total = self._captured.pop(edge, None), grad_output[output]
            if contribution is not None and total is not None:
                arrived.append((edge, contribution, total))
        return arrived


def _hook(tape: "weakref.ref[Tape]", number: int) -> Callable[[Gradients, Gradients], None]:
    def on_gradient(grad_input: Gradients, grad_output: Gradients) -> None:
        alive = tape()
        if alive is not None:
            alive._pass(number, grad_input, grad_output)

    return on_gradient


def _add_weight(signal: Signal, tap: Tap, weight: facts.Weight, grad_input: Gradients) -> None:
    vertex = tap.vertex
    signal.weight = weight.matrix(vertex.node)
    signal.weight_id = None if weight.parameter is None else id(weight.parameter)
    signal.passed = grad_input[vertex.data_slots[0]] if vertex.data_slots else None
    if vertex.op == "convolution":
        signal.convolution = _convolution(vertex.node)
    elif not weight.on_the_right:
        signal.received, signal.features = [g.t() for g in signal.received], -1
        signal.passed = None if signal.passed is None else signal.passed.t()


def _convolution(node: Any) -> Convolution:
    return Convolution(
        node._saved_stride,
        node._saved_padding,
        node._saved_dilation,
        node._saved_transposed,
        node._saved_output_padding,
        node._saved_groups,
    )
