"""Hooks on every Node of one backward pass, which turn what passes into Signals."""

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from undertow.measure import (
    Columns,
    Convolution,
    Meter,
    Reading,
    Signal,
    measure,
    measure_attention,
    measure_directions,
)
from undertow.record import Edge, Role, Run, Site
from undertow.tape import facts
from undertow.tape.attended import attended
from undertow.tape.graph import Node
from undertow.tape.inflow import inflow, normalised, preactivation
from undertow.tape.ops import EMBEDDINGS
from undertow.tape.plans import Plans
from undertow.tape.sites import LineOf, Plan, Tap
from undertow.tape.targets import MEETS_TARGETS, measure_what_is_met

Gradients = tuple[Tensor | None, ...]
Listener = Callable[[Signal, Meter], None]
_LOOKED_INTO = EMBEDDINGS | {"linalg_vector_norm"} | MEETS_TARGETS

MANY = 32
"""Operations from which on it is less work to reduce small tensors of many of them together than each by itself."""

_NOTHING = Plan((), (), (), frozenset())


class Tape:
    """Reads one forward and backward pass of a model. Use it once.

    Nothing is changed: not a bit of any gradient, no buffer, no random number. All hooks are gone when the ``with``
    block ends, however it ends; a graph that is never backpropagated is freed as if nobody had looked.

    Attributes:
        plan: Sites, edges and what is looked at; known once a loss is attached.
        other_leaves: tensors that take gradient but are no parameters of the model.
        reading: what `columns` read last.

    Args:
        model: its modules give the Sites their names. Or what passes before this one found out about it.
        meter: where numbers are collected.
        listener: what is done with each Signal; reduces it into ``meter`` unless told otherwise.
        unroll: let RNN modules run step by step instead of in one fused kernel, so that each step is a Site.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> with Tape(net) as tape:
        ...     loss = net(torch.ones(5, 3)).square().mean()
        ...     attached = tape.attach(loss)
        ...     loss.backward()
        >>> [f"{site.module} {site.op}" for site in tape.sites]
        [' mean', ' pow', '2 addmm', '1 tanh', '0 addmm']
        >>> speed = tape.columns().by_site["learning_speed"]
        >>> bool(abs(speed[-1] - net[0].bias.grad.norm()) < 1e-6)
        True
    """

    def __init__(
        self,
        model: nn.Module | Plans,
        meter: Meter | None = None,
        listener: Listener = measure,
        unroll: bool = False,
    ) -> None:
        self.meter = meter or Meter()
        self.plan = _NOTHING
        self.other_leaves: list[Tensor] = []
        self.reading = Reading([])
        self._plans = model if isinstance(model, Plans) else Plans(model, unroll)
        self._listener = listener
        self._windows = self._plans.windows()
        self._nodes: list[Node] = []
        self._handles: list[RemovableHandle] = []
        self._captured: dict[int, tuple[Tensor, facts.Part | None]] = {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Begin to watch: the same as entering ``with``."""
        if self._windows:
            self._windows.open()
        if self.meter.inflow:
            self._plans.choices.open()

    def close(self) -> None:
        """Remove every hook and let go of the graph."""
        if self._windows:
            self._windows.close()
            self._windows.abandon()
        self._plans.choices.close()
        while self._handles:
            self._handles.pop().remove()
        self._nodes.clear()
        self._captured.clear()
        self.other_leaves.clear()

    def attach(self, loss: Tensor, line_of: LineOf | None = None) -> bool:
        """Hook the graph behind a loss. From here on modules that are called are not looked at any more.

        Args:
            loss: a scalar.
            line_of: tells the line of source by a Node's number; Sites have it from the first pass that went their way.

        Returns:
            Whether it will be read. With `Plans` of passes before, a pass that goes a new way may come as a surprise:
            nobody watched the modules, and nothing is hooked. The next Tape will watch them.

        Raises:
            ValueError: no gradient can flow from ``loss``.
        """
        if loss.grad_fn is None:
            raise ValueError("the loss has no grad_fn: nothing that requires grad went into it")
        if self._windows:
            self._windows.close()
        self._plans.choices.close()
        graph = self._plans.of(loss.grad_fn, self._windows, line_of)
        if graph is None:
            return False
        self.plan, self._nodes, self.other_leaves = graph.plan, graph.nodes, graph.other_leaves
        self.meter.gathers = len(self._nodes) >= MANY
        # The hook holds no Node and no tape: a cycle through C++ is never collected.
        tape = weakref.ref(self)
        self._handles = [node.register_hook(_hook(tape, number)) for number, node in enumerate(self._nodes)]
        return True

    def within_call(self) -> None:
        """Say that a call of the model has just begun: the tape was opened in it, too late to hear of it."""
        self._plans.choices.enter()

    @property
    def chosen(self) -> dict[str, int]:
        """Tables among the parameters whose rows the model chooses by itself, such as codebooks, and how many rows."""
        return self._plans.choices.chosen or {}

    @property
    def sites(self) -> tuple[Site, ...]:
        """Known once a loss is attached."""
        return self.plan.sites

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Return the edges between `sites`."""
        return self.plan.edges

    def also(self, names: Mapping[int, str]) -> None:
        """More tensors to call parameters, by ``id``: sharded models compute with others than they name."""
        self._plans.also(names)

    @property
    def called(self) -> frozenset[str]:
        """Paths of the modules that were called, from beginning to end, before the loss was attached."""
        return self.plan.called

    def columns(self, names: Sequence[str] = ()) -> Columns:
        """Everything measured, off the devices. ``names``: of parameters, as `measure_parameters` returned them."""
        self.reading = self.meter.read()
        return self._plans.readout(self.plan, tuple(names)).columns(self.reading)

    def run(self, header: dict[str, Any] | None = None, names: Sequence[str] = ()) -> Run:
        """This one pass as a Run of one step."""
        step = self.columns(names)
        return Run(
            header or {},
            self.sites,
            self.edges,
            {name: column[None] for name, column in step.by_site.items()},
            {name: column[None] for name, column in step.by_edge.items()},
        )

    def _pass(self, number: int, grad_input: Gradients, grad_output: Gradients) -> None:
        tap = self.plan.taps[number]
        for slot, edge in tap.captures:
            gradient = grad_input[slot]
            if gradient is not None:
                # A part's gradient, with zeros around it, is as long as without: there is less to read.
                part = facts.taken(tap.op, self._nodes[number])
                received = None if part is None else grad_output[0]
                self._captured[edge] = (gradient, None) if received is None else (received, part)
        if tap.site < 0:
            return
        if tap.role is Role.ATTENTION or tap.op in _LOOKED_INTO:
            with torch.no_grad():
                self._look_inside(tap, self._nodes[number])
        if torch.is_grad_enabled():  # a backward pass that will be differentiated itself
            with torch.no_grad():
                self._listener(self._signal(tap, self._nodes[number], grad_input, grad_output), self.meter)
        else:
            self._listener(self._signal(tap, self._nodes[number], grad_input, grad_output), self.meter)

    def _signal(self, tap: Tap, node: Node, grad_input: Gradients, grad_output: Gradients) -> Signal:
        signal = Signal(tap.site, [g for g in grad_output if g is not None])
        if tap.arrivals:
            signal.arrivals = self._arrived(tap, grad_output)
        signal.features = tap.features
        if tap.role is Role.WEIGHT:
            signal.learns = True
            if tap.bias is not None:
                signal.summed = grad_input[tap.bias]
            if tap.beside:
                _tell_apart(tap, grad_input, self.meter)
            if tap.weight is not None:
                if self.meter.verify:
                    _add_weight(signal, tap, tap.weight, node, grad_input)
                else:
                    _weigh(signal, tap.weight, node)
                if self.meter.inflow:
                    signal.inflow = inflow(tap.op, node, tap.weight)
        elif tap.role is Role.ACTIVATION:
            signal.slopes = facts.slopes(tap.op, node)
            signal.passed = next((g for g in grad_input if g is not None), None)
            if self.meter.inflow:
                signal.inflow = preactivation(tap.op, node)
            signal.onward = tap.onward
            signal.peak, signal.bounded, signal.rising = tap.peak, tap.bounded, tap.rising
        return signal

    def _look_inside(self, tap: Tap, node: Node) -> None:
        """Measure what the forward pass chose or met: where attention looks, rows of a table, targets."""
        if tap.role is Role.ATTENTION:
            weights = attended(tap.op, node)
            if weights is not None:
                measure_attention(tap.site, weights, self.meter)
        elif tap.op == "linalg_vector_norm" and self.meter.inflow:
            examples = normalised(node)
            if examples is not None:
                measure_directions(tap.site, examples, self.meter)
        elif tap.op in MEETS_TARGETS:
            measure_what_is_met(tap.site, tap.op, node, self.meter)
        elif tap.op in EMBEDDINGS:
            self._plans.lookups.see(tap.site, self.sites[tap.site].parameters, node, self.meter)

    def _arrived(self, tap: Tap, grad_output: Gradients) -> list[tuple[int, Tensor, Tensor]]:
        arrived = []
        for edge, output in tap.arrivals:
            captured, total = self._captured.pop(edge, None), grad_output[output]
            if captured is not None and total is not None:
                contribution, part = captured
                arrived.append((edge, contribution, total if part is None else total[part]))
        return arrived


def _hook(tape: "weakref.ref[Tape]", number: int) -> Callable[[Gradients, Gradients], None]:
    def on_gradient(grad_input: Gradients, grad_output: Gradients) -> None:
        alive = tape()
        if alive is not None:
            alive._pass(number, grad_input, grad_output)

    return on_gradient


def _tell_apart(tap: Tap, grad_input: Gradients, meter: Meter) -> None:
    """Measure what is passed on through the weights, where a residual connection's part is passed on beside it."""
    passed = None if tap.passes is None else grad_input[tap.passes]
    if passed is None:
        meter.note("multiplied", tap.site, math.nan)
    else:
        meter.norm("multiplied", tap.site, passed)


def _weigh(signal: Signal, weight: facts.Weight, node: Node) -> None:
    """Only what its norm needs."""
    signal.weight = weight.as_kept(node)
    signal.weight_id = weight.identity


def _add_weight(signal: Signal, tap: Tap, weight: facts.Weight, node: Node, grad_input: Gradients) -> None:
    signal.weight = weight.matrix(node)
    signal.weight_id = weight.identity
    signal.passed = None if tap.passes is None else grad_input[tap.passes]
    if tap.op == "convolution":
        signal.convolution = _convolution(node)
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
