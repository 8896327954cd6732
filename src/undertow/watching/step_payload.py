"""From what taped steps send to columns of the Run: many steps alike at once, on the writer's thread."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from undertow.columns import Column
from undertow.measure import Array, Columns, Part, Reading, Readout
from undertow.record import Edge, Site
from undertow.watching.updated_parameters import Roster

Rates = Sequence[tuple[Roster, Sequence[Any]]]
"""Whom each of the optimizers' parameter groups gave which learning rate."""


@dataclass(slots=True, eq=False)
class Sheet:
    """What one taped step sends.

    Attributes:
        readout: knows which number goes where.
        sites, edges: of the graph; none if only the optimizer's step was read.
        names: of the parameters.
        world: of how many processes each has a part of a mean.
        partial: whether parameters lie on several processes.
        coming: what the meter sends, and ``moves`` what the samplers do.
        rates: of the optimizers.
        backward: which of the step's backward passes it was.
        unreached: parameters that require grad and got none, of the optimizers that stepped; None if nothing was taped.
        idle: those of them whose modules weren't run.
        read: what has arrived, under this ``scale`` and ``divisor``.
    """

    readout: Readout
    sites: tuple[Site, ...]
    edges: tuple[Edge, ...]
    names: tuple[str, ...]
    world: int
    partial: bool
    coming: Callable[[], Reading]
    moves: Sequence[Callable[[], Part]]
    rates: Rates
    backward: int = 0
    unreached: tuple[str, ...] | None = None
    idle: tuple[str, ...] = ()
    read: Reading = field(default_factory=lambda: Reading([]))
    scale: float = 1.0
    divisor: float = 1.0

    def arrive(self, scale: float, divisor: float) -> None:
        """Wait for the numbers. ``scale``: the loss's; ``divisor``: the optimizer's own, of gradients."""
        self.read = Reading([*self.coming().parts, *Reading.of(moved() for moved in self.moves).parts])
        self.scale, self.divisor = scale, divisor

    def alike(self, other: "Sheet") -> bool:
        """Whether the same was read, of the same graph."""
        mine, theirs = ((s.readout, s.names, s.world, s.partial, [r for r, _ in s.rates]) for s in (self, other))
        return mine == theirs and self.read.alike(other.read)


@dataclass(frozen=True, slots=True)
class Taped:
    """One taped step: the sheet, and its columns: of Sites and edges, and of parameters, each [parameters]."""

    sheet: Sheet
    measured: Columns
    parameters: dict[str, Column]


def lots(sheets: Sequence[Sheet]) -> list[list[Sheet]]:
    """Put those that follow one another and are alike together."""
    found: list[list[Sheet]] = []
    for sheet in sheets:
        if found and found[-1][0].alike(sheet):
            found[-1].append(sheet)
        else:
            found.append([sheet])
    return found


def filled(lot: Sequence[Sheet]) -> list[Taped]:
    """Columns of steps that are alike, and have arrived."""
    first, read = lot[0], Reading.stacked([sheet.read for sheet in lot])
    scale, divisor = (np.array(each)[:, None] for each in zip(*((s.scale, s.divisor) for s in lot), strict=True))
    with np.errstate(all="ignore"):  # numbers of a training that diverges overflow, and that is to be seen
        read.divide(("grad of parameter", "ascent"), divisor)
        parameters = _narrow(_of_parameters(read, _rates(lot), first.partial))
        measured = _measured(read, scale, first) if first.sites else Columns({}, {})
        by_site, by_edge = _narrow(measured.by_site), _narrow(measured.by_edge)
    return [
        Taped(sheet, Columns(_row(by_site, n), _row(by_edge, n)), _row(parameters, n)) for n, sheet in enumerate(lot)
    ]


def _narrow(columns: dict[str, Array]) -> dict[str, Column]:
    return {name: column.astype(np.float32) for name, column in columns.items()}


def _row(columns: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: column[number] for name, column in columns.items()}


def _rates(lot: Sequence[Sheet]) -> Array:
    """The learning rate of every parameter, [steps, parameters]; nan where the optimizer keeps it on a device."""
    lr = np.full((len(lot), len(lot[0].names)), np.nan)
    for number, (roster, _) in enumerate(lot[0].rates):
        known = np.array([[_rate(each) for each in sheet.rates[number][1]] for sheet in lot])
        lr[:, roster.places] = known[:, roster.group]
    return lr


def _rate(value: object) -> float:
    return math.nan if value is None or isinstance(value, Tensor) else float(value)  # type: ignore[arg-type]


def _measured(read: Reading, scale: Array, sheet: Sheet) -> Columns:
    measured = sheet.readout.columns(read)
    _unscale(measured, scale, sheet)
    return measured


def _unscale(measured: Columns, scale: Array, sheet: Sheet) -> None:
    """Gradients of the loss itself (a parameter's was unscaled when it was read), [steps, sites].

    Under data parallelism each process has one part of a mean.
    """
    # Of the loss, a single number, there is one all together and not one for each process.
    received = np.array([sheet.world if site.shape else math.sqrt(sheet.world) for site in sheet.sites])
    along = received[[edge.target for edge in sheet.edges]]
    passed = np.ones(len(sheet.sites))
    passed[[edge.source for edge in sheet.edges]] = along
    measured.by_site["grad_output"] /= scale * received
    measured.by_site["grad_input"] /= scale * passed
    measured.by_site["learning_speed"] /= scale
    measured.by_edge["contribution"] /= scale * along


def _of_parameters(read: Reading, lr: Array, partial: bool) -> dict[str, Array]:
    grad, step, weight, ascent = (
        np.broadcast_to(read.column(name, lr.shape[-1]), lr.shape).copy()
        for name in ("grad of parameter", "step", "parameter", "ascent")
    )
    descent = -ascent
    if "copy" in read:  # another process answers for it
        for each in (grad, step, weight, descent):
            each[:, read["copy"].places] = 0.0
    total = np.nansum(descent, axis=-1, keepdims=True)
    share = descent if partial else np.where(total > 0, descent / total, np.nan)
    ratio = np.where(weight > 0, step / weight, np.nan)
    found = {"grad_norm": grad, "update_norm": step, "weight_norm": weight, "update_ratio": ratio}
    return found | {"progress": share, "lr": lr}
