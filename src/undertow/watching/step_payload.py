"""`StepPayload`: the numbers that a full step sends, and the columns of the Run made of them, many steps at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from undertow.columns import Column
from undertow.measure import Array, Columns, Reading, Readout
from undertow.record import Edge, Site
from undertow.watching.updated_parameters import UpdatedParameters

Rates = Sequence[tuple[UpdatedParameters, Sequence[Any]]]
"""The learning rates that the optimizers' parameter groups had, with the parameters that they are of."""


@dataclass(frozen=True, slots=True)
class TapedGraph:
    """The graph of a backward pass.

    Attributes:
        readout: knows which number goes where.
        sites, edges: of the graph; none if only the optimizer's step was read.
    """

    readout: Readout
    sites: tuple[Site, ...] = ()
    edges: tuple[Edge, ...] = ()

    def columns(self, read: Reading) -> Columns:
        """Compute the columns of Sites and edges, each [steps, sites] or [steps, edges]."""
        return self.readout.columns(read)


@dataclass(frozen=True, slots=True)
class Shards:
    """Say how the numbers of one process are parts of a whole.

    Attributes:
        world: number of processes of which each has a part of a mean.
        partial: whether parameters lie on several processes.
    """

    world: int = 1
    partial: bool = False


@dataclass(frozen=True, slots=True)
class ParameterReach:
    """Parameters that no gradient reached.

    Attributes:
        unreached: parameters that require grad and got none, of the optimizers that stepped.
        idle: those of them whose modules weren't run.
    """

    unreached: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class StepPayload:
    """Everything one full step sends to the writer's thread.

    Attributes:
        graph: of the backward pass that was taped.
        names: of the parameters.
        shards: how the numbers are parts of a whole.
        coming: waits for the numbers.
        rates: the learning rates.
        backward: which of the step's backward passes was taped.
        reach: what gradient didn't reach; None if no backward pass was taped.
        chosen: tables whose rows the model chooses by itself, and how many rows; None as long as nobody knows.
        leaves: what else takes gradient, as `LeafFinder` says; None as long as nobody knows.
        apart: whether every optimizer stepped for losses of its own: then shares of progress are of each one's.
        read: the numbers that have arrived, under this loss ``scale`` and this ``divisor`` of gradients.
    """

    graph: TapedGraph
    names: tuple[str, ...]
    shards: Shards
    coming: Callable[[], Reading]
    rates: Rates
    backward: int = 0
    reach: ParameterReach | None = None
    chosen: Mapping[str, int] | None = None
    leaves: Sequence[Mapping[str, Any]] | None = None
    apart: bool = True
    read: Reading = field(default_factory=lambda: Reading([]))
    scale: float = 1.0
    divisor: float = 1.0

    def arrive(self, scale: float, divisor: float) -> None:
        """Wait for the numbers. ``scale``: the loss's; ``divisor``: the optimizer's own, of gradients."""
        self.read, self.scale, self.divisor = self.coming(), scale, divisor

    def alike(self, other: "StepPayload") -> bool:
        """Tell whether the same was read, of the same graph."""
        return self._kind() == other._kind() and self.read.alike(other.read)

    def _kind(self) -> tuple[object, ...]:
        return self.graph.readout, self.names, self.shards, self.apart, [updated for updated, _ in self.rates]


@dataclass(frozen=True, slots=True)
class StepColumns:
    """One full step as columns: of Sites and edges, and of parameters, each [parameters]."""

    payload: StepPayload
    measured: Columns
    parameters: dict[str, Column]

    @property
    def graph(self) -> TapedGraph:
        """Return the graph of the backward pass that was taped."""
        return self.payload.graph


def batches(payloads: Sequence[StepPayload]) -> list[list[StepPayload]]:
    """Put those that follow one another and are alike together."""
    found: list[list[StepPayload]] = []
    for payload in payloads:
        if found and found[-1][0].alike(payload):
            found[-1].append(payload)
        else:
            found.append([payload])
    return found


def columns_of(batch: Sequence[StepPayload]) -> list[StepColumns]:
    """Compute the columns of steps that are alike and have arrived."""
    first, read = batch[0], Reading.stacked([payload.read for payload in batch])
    scale, divisor = (np.array(each)[:, None] for each in zip(*((p.scale, p.divisor) for p in batch), strict=True))
    with np.errstate(all="ignore"):  # numbers of a training that diverges overflow, and that is to be seen
        read.divide(("grad of parameter", "ascent"), divisor)
        parameters = _narrow(_of_parameters(read, _rates(batch), first))
        measured = _measured(read, scale, first) if first.graph.sites else Columns({}, {})
        by_site, by_edge = _narrow(measured.by_site), _narrow(measured.by_edge)
    return [
        StepColumns(payload, Columns(_row(by_site, n), _row(by_edge, n)), _row(parameters, n))
        for n, payload in enumerate(batch)
    ]


def _narrow(columns: dict[str, Array]) -> dict[str, Column]:
    return {name: column.astype(np.float32) for name, column in columns.items()}


def _row(columns: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: column[number] for name, column in columns.items()}


def _rates(batch: Sequence[StepPayload]) -> Array:
    """Return the learning rate of every parameter, [steps, parameters]; nan where it is kept on a device."""
    lr = np.full((len(batch), len(batch[0].names)), np.nan)
    for number, (updated, _) in enumerate(batch[0].rates):
        known = np.array([[_rate(each) for each in payload.rates[number][1]] for payload in batch])
        lr[:, updated.places] = known[:, updated.groups.place]
    return lr


def _rate(value: object) -> float:
    return math.nan if value is None or isinstance(value, Tensor) else float(value)  # type: ignore[arg-type]


def _measured(read: Reading, scale: Array, payload: StepPayload) -> Columns:
    measured = payload.graph.columns(read)
    _unscale(measured, scale, payload.graph, payload.shards.world)
    return measured


def _unscale(measured: Columns, scale: Array, graph: TapedGraph, world: int) -> None:
    """Divide gradients by the loss scale, [steps, sites] (those of parameters were divided when they were read).

    Under data parallelism each process has one part of a mean.
    """
    # Of the loss, a single number, there is one all together and not one for each process.
    received = np.array([world if site.shape else math.sqrt(world) for site in graph.sites])
    along = received[[edge.target for edge in graph.edges]]
    passed = np.ones(len(graph.sites))
    passed[[edge.source for edge in graph.edges]] = along
    measured.by_site["grad_output"] /= scale * received
    measured.by_site["grad_input"] /= scale * passed
    measured.by_site["learning_speed"] /= scale
    measured.by_edge["contribution"] /= scale * along


def _of_parameters(read: Reading, lr: Array, payload: StepPayload) -> dict[str, Array]:
    grad, step, weight, ascent = (
        np.broadcast_to(read.column(name, lr.shape[-1]), lr.shape).copy()
        for name in ("grad of parameter", "step", "parameter", "ascent")
    )
    descent = -ascent
    if "copy" in read:  # another process answers for it
        for each in (grad, step, weight, descent):
            each[:, read["copy"].places] = 0.0
    share = descent if payload.shards.partial else _shares(descent, payload)
    ratio = np.where(weight > 0, step / weight, np.nan)
    found = {"grad_norm": grad, "update_norm": step, "weight_norm": weight, "update_ratio": ratio}
    return found | {"progress": share, "lr": lr}


def _shares(descent: Array, payload: StepPayload) -> Array:
    """Return each parameter's part of the first-order fall of its loss, [steps, parameters]; nan where it rises."""
    share = np.full(descent.shape, np.nan)
    places = [updated.places for updated, _ in payload.rates] if payload.apart else [np.arange(descent.shape[-1])]
    for at in places:
        total = np.nansum(descent[:, at], axis=-1, keepdims=True)
        share[:, at] = np.where(total > 0, descent[:, at] / total, np.nan)
    return share
