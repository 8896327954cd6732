"""The nouns: what one run of one model is, as every other part of undertow reads it.

A `Run` is a header, its `Site` s (the operations on the gradient's way back) and its numbers as columns,
``[steps, sites]`` or ``[steps, edges]``. Columns and not objects: four million readings as Python objects took 15
seconds to make. A `Reading` is a view of one row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

import numpy as np

from undertow.columns import Column, Columns, check_columns, check_rows, decode, encode, plain, row_counts, same_columns


class Role(StrEnum):
    """What an operation is there for, as far as the gradient is concerned."""

    WEIGHT = "weight"
    """Multiplies by a matrix of parameters (or of frozen ones): linear, convolution, embedding, fused RNN."""
    ACTIVATION = "activation"
    NORM = "norm"
    JOIN = "join"
    """Branches of the forward pass meet here: addition, concatenation."""
    ATTENTION = "attention"
    """A product of two tensors that both depend on the data, or the softmax between two of them."""
    LOSS = "loss"
    """Between the loss and the last weights."""
    OTHER = "other"


SITE_COLUMNS = {
    "grad_output": "norm of the gradient received, whole (not a mean over the batch)",
    "grad_input": "norm of the gradient passed on to everything but parameters",
    "learning_speed": "norm of the gradient received, summed over examples and positions: ||dC/db||, bias or no bias",
    "coherence": "norm of the mean over rows / root mean square over rows: what of the batch survives averaging",
    "derivative_rms": "root mean square of the activation's derivative",
    "alignment_phi": "||phi'(z) g|| / (rms phi' ||g||)",
    "alignment_w": "sqrt(n_out) ||W^T g|| / (||W||_F ||g||)",
    "saturated": "of an activation bounded on both sides: share of values with |phi'| under a tenth of its peak",
    "dead": "of any other activation: share of units with |phi'| under a thousandth of its peak in every row",
    "nonfinite": "inf and nan in the gradient received",
    "weight_norm": "||W||_F, of the weights as they are multiplied with",
    "weight_spread": "norm of the weights' deviation from their mean row / ||W||_F: 0 if all units are alike",
    "weight_grad_norm": "norm of the loss's gradient by this Site's parameters",
    "update_ratio": "||dw|| / ||w|| of the optimizer's step",
    "progress": "share of the first-order change of the loss: -<g, dw> / its sum over all Sites",
}
"""What there is to read at a Site, and what it means. NaN: not measured, or there is no such thing here."""

EDGE_COLUMNS = {
    "contribution": "norm of the gradient that arrives along this edge",
    "share": "<g_e, G> / ||G||^2, its share of the gradient that its receiver takes; they sum to 1",
}
"""What there is to read at an edge, and what it means."""

STEP_COLUMNS = ("step", "time", "loss", "lr")

SCALARS = {
    "step": "steps of the optimizer so far",
    "time": "seconds since the Run began",
    "loss": "as logged",
    "lr": "learning rate of the first parameter group",
    "grad_norm": "norm of the gradient by all parameters, as the optimizer takes it: after clipping, unscaled",
    "grad_norm_unclipped": "the same before clipping",
    "nonfinite": "inf and nan among the gradients: how many, or 1 for some",
    "scale": "loss scale; NaN where it is unknown",
    "skipped": "1 where the optimizer's step was skipped",
    "backwards": "backward passes so far",
    "step_seconds": "seconds since the step before",
    "cost_seconds": "seconds of them that undertow took",
}
"""What there is to note at every step, measured or not; what a user logs stands beside these under its own name."""

PARAMETER_COLUMNS = {
    "grad_norm": "norm of the loss's gradient by this parameter, as the optimizer takes it, unscaled",
    "update_norm": "norm of the optimizer's step, decay included",
    "weight_norm": "norm of the parameter before the step",
    "update_ratio": "update_norm / weight_norm",
    "progress": "share of the first-order change of the loss: -<g, dw> / its sum over all parameters",
    "lr": "learning rate of its group",
}
"""What there is to read of a parameter at a recorded step, and what it means. NaN: not measured."""


@dataclass(frozen=True)
class Site:
    """One operation on the backward path.

    Attributes:
        index: its place in ``run.sites``; a Site comes after every Site that it receives gradient from.
        module: path of the module it ran in (``"layers.0"``), empty outside of the model.
        op: torch's name for the operation (``"addmm"``).
        role: what it is there for.
        shape: of the gradient it receives, that is of its output.
        activation: name of the activation, if it is one.
        n_out: rows of the weight matrix on the receiving side, 0 where there is none.
        weight_shape: of its weight, where it has one.
        parameters: names of the parameters it passes gradient to.
        module_type: class of the module it ran in.

    Example:
        >>> Site(0, "layers.1", "addmm", Role.WEIGHT, (1000, 30)).name
        'layers.1'
        >>> Site(1, "", "sigmoid", Role.ACTIVATION, (1000, 30)).name
        'sigmoid'
    """

    index: int
    module: str
    op: str
    role: Role
    shape: tuple[int, ...] = ()
    activation: str | None = None
    n_out: int = 0
    weight_shape: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    module_type: str = ""

    @property
    def name(self) -> str:
        """How it is called in a sentence: a layer by its module alone, anything else with its operation."""
        if self.role is Role.WEIGHT and self.module:
            return self.module
        return f"{self.module}.{self.op}" if self.module else self.op

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: plain(value) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        lists = {key: tuple(data[key]) for key in ("shape", "weight_shape", "parameters")}
        return cls(**{**data, **lists, "role": Role(data["role"])})


@dataclass(frozen=True)
class Edge:
    """Gradient goes from the Site ``source`` to the Site ``target`` (both are places in ``run.sites``)."""

    source: int
    target: int


@dataclass(frozen=True)
class Event:
    """Something that happened to a run at one step.

    Attributes:
        step: steps of the optimizer so far.
        time: seconds since the Run began.
        kind: ``"session"`` (training began or went on), ``"thinned"`` (steps that could not be kept), ``"nonfinite"``,
            ``"governor"`` (what watching costs), ``"spike"`` (of the loss), ``"finding"``, ``"graph"`` (the model's
            graph changed), ``"micro-batch"`` (which backward pass of a step is taped), ``"trouble"``.
        message: one sentence.
        data: the numbers behind it, as JSON values.

    Example:
        >>> Event.from_dict(Event(7, 0.5, "nonfinite", "the gradient became inf").to_dict()).step
        7
    """

    step: int
    time: float
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: plain(value) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{**data, "time": np.nan if data["time"] is None else float(data["time"])})


class Reading(Mapping[str, float]):
    """A Site's numbers at one step: a view of one row of a `Run`. By name, as a mapping or as attributes.

    Example:
        >>> run = Run({}, (Site(0, "fc", "addmm", Role.WEIGHT),), (), {"grad_output": np.array([[0.5]])})
        >>> run.reading(0).grad_output, run.reading(0)["dead"]
        (0.5, nan)
    """

    __slots__ = ("_row", "_run", "site")

    def __init__(self, run: "Run", row: int, site: Site) -> None:
        self._run, self._row, self.site = run, row, site

    def __getitem__(self, name: str) -> float:
        if name not in SITE_COLUMNS:
            raise KeyError(f"no reading named {name!r}; there are: {', '.join(SITE_COLUMNS)}")
        column = self._run.columns.get(name)
        return float("nan") if column is None else float(column[self._row, self.site.index])

    def __getattr__(self, name: str) -> float:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __iter__(self) -> Iterator[str]:
        return iter(SITE_COLUMNS)

    def __len__(self) -> int:
        return len(SITE_COLUMNS)

    def __repr__(self) -> str:
        seen = ", ".join(f"{name}={value:.4g}" for name, value in self.items() if not np.isnan(value))
        return f"Reading({self.site.name}: {seen})"


@dataclass(eq=False)
class Run:
    """What was measured: a header, the Sites, and the numbers of every recorded step.

    Attributes:
        header: about the model and the machine, as JSON values.
        sites: every Site, receivers after givers: the loss comes first.
        edges: where gradient goes.
        columns: by name (see `SITE_COLUMNS`), each [steps, sites].
        edge_columns: by name (see `EDGE_COLUMNS`), each [steps, edges].
        steps: by name (see `STEP_COLUMNS`), each [steps].
        scalars: by name (see `SCALARS`), each [noted steps]: what is cheap enough to note between recorded steps.
        parameters: names of the parameters.
        parameter_columns: by name (see `PARAMETER_COLUMNS`), each [rows, parameters].
        parameter_steps: steps of the optimizer at those rows, [rows].
        events: what happened, in order.

    Raises:
        ValueError: a column of the wrong shape or with an unknown name.

    Example:
        >>> sites = (Site(0, "fc2", "addmm", Role.WEIGHT), Site(1, "fc1", "addmm", Role.WEIGHT))
        >>> run = Run({}, sites, (Edge(0, 1),), {"grad_output": np.array([[1.0, 0.25]])})
        >>> Run.from_dict(run.to_dict()) == run
        True
    """

    header: dict[str, Any]
    sites: tuple[Site, ...]
    edges: tuple[Edge, ...] = ()
    columns: Columns = field(default_factory=dict)
    edge_columns: Columns = field(default_factory=dict)
    steps: dict[str, Column] = field(default_factory=dict)
    scalars: dict[str, Column] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    parameter_columns: Columns = field(default_factory=dict)
    parameter_steps: Column = field(default_factory=lambda: np.empty(0))
    events: tuple[Event, ...] = ()

    def __post_init__(self) -> None:
        check_columns(self.columns, SITE_COLUMNS, len(self.sites), "sites")
        check_columns(self.edge_columns, EDGE_COLUMNS, len(self.edges), "edges")
        check_columns(self.parameter_columns, PARAMETER_COLUMNS, len(self.parameters), "parameters")
        check_rows("steps", self.columns, self.edge_columns, self.steps)
        check_rows("noted steps", self.scalars)
        check_rows("parameters' steps", self.parameter_columns, {"": self.parameter_steps})

    def __len__(self) -> int:
        return next((rows for group in (self.steps, self.columns, self.edge_columns) for rows in row_counts(group)), 0)

    def reading(self, site: int, step: int = -1) -> Reading:
        """The numbers of ``sites[site]`` at a recorded step (its place among the recorded ones; -1 is the last)."""
        return Reading(self, step, self.sites[site])

    def column(self, name: str, step: int = -1) -> Column:
        """One quantity at every Site of one recorded step, [sites]; NaN where nobody measured it."""
        if name in self.columns:
            return self.columns[name][step]
        return np.full(len(self.sites), np.nan)

    def edge_column(self, name: str, step: int = -1) -> Column:
        """One quantity at every edge of one recorded step, [edges]; NaN where nobody measured it."""
        if name in self.edge_columns:
            return self.edge_columns[name][step]
        return np.full(len(self.edges), np.nan)

    @cached_property
    def outgoing(self) -> tuple[tuple[int, ...], ...]:
        """For every Site, the edges along which it passes gradient on."""
        return self._edges_by("source")

    @cached_property
    def incoming(self) -> tuple[tuple[int, ...], ...]:
        """For every Site, the edges along which it receives gradient."""
        return self._edges_by("target")

    def _edges_by(self, end: str) -> tuple[tuple[int, ...], ...]:
        found: list[list[int]] = [[] for _ in self.sites]
        for number, edge in enumerate(self.edges):
            found[getattr(edge, end)].append(number)
        return tuple(map(tuple, found))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        return self._words == other._words and all(
            same_columns(ours, theirs) for ours, theirs in zip(self._groups, other._groups, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # columns are mutable

    @property
    def _words(self) -> tuple[Any, ...]:
        events = [event.to_dict() for event in self.events]
        return plain(self.header), self.sites, self.edges, self.parameters, events

    @property
    def _groups(self) -> list[Columns]:
        return [*(getattr(self, name) for name in _GROUPS), {"parameter_steps": self.parameter_steps}]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; inf and nan become strings and None, as JSON knows neither."""
        return {
            "header": plain(self.header),
            "sites": [site.to_dict() for site in self.sites],
            "edges": [[edge.source, edge.target] for edge in self.edges],
            "parameters": list(self.parameters),
            **{group: encode(getattr(self, group)) for group in _GROUPS},
            **encode({"parameter_steps": self.parameter_steps}),
            "events": [event.to_dict() for event in self.events],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. What an earlier undertow did not write is empty."""
        return cls(
            header_from(data["header"]),
            tuple(map(Site.from_dict, data["sites"])),
            tuple(Edge(*pair) for pair in data["edges"]),
            **{group: decode(data.get(group, {})) for group in _GROUPS[:3]},
            scalars=decode(data.get("scalars", {})),
            parameters=tuple(data.get("parameters", ())),
            parameter_columns=decode(data.get("parameter_columns", {})),
            parameter_steps=decode({"": data.get("parameter_steps", _NOTHING)})[""],
            events=tuple(map(Event.from_dict, data.get("events", ()))),
        )


_NOTHING = {"dtype": "float64", "shape": [0], "values": []}
_GROUPS = ("columns", "edge_columns", "steps", "scalars", "parameter_columns")


@dataclass(frozen=True)
class BackwardGain:
    """What happens to the gradient between two Sites, and because of what. Derived from a `Run`, never stored.

    Attributes:
        start, end: Sites; the gradient goes from ``start`` to ``end``.
        gain: norm of the gradient at ``end`` / at ``start``.
        factors: by cause; they multiply to ``gain``. ``"unattributed"`` is always among them.
        shares: for every branch that arrives at ``end``, its edge and its share of the gradient there.
        main: Sites along the branch with the largest share, ``start`` and ``end`` included.

    Example:
        >>> gain = BackwardGain(0, 2, 0.2, {"activation": 0.19, "weights": 1.05, "unattributed": 1.0025})
        >>> gain.cause
        'activation'
    """

    start: int
    end: int
    gain: float
    factors: Mapping[str, float]
    shares: Mapping[int, float] = field(default_factory=dict)
    main: tuple[int, ...] = ()

    @property
    def decades(self) -> float:
        """log10 of the gain: -1 is a gradient a tenth as large."""
        return _decades(self.gain)

    @property
    def cause(self) -> str:
        """The factor farthest from 1 on the gain's own side; with a gain of 1, the one farthest on either."""
        sign = np.sign(self.decades) or 1.0
        return max(self.factors, key=lambda name: sign * _decades(self.factors[name]))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: plain(value) for key, value in vars(self).items()}


class Severity(StrEnum):
    """How much a finding matters: a note is no fault."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """For comparing: note 0, warning 1, error 2."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """What a rule has to say about a run.

    Attributes:
        code: stable (``"UT101"``); ``undertow rule CODE`` explains it.
        name: in two or three words.
        severity: note, warning or error.
        sites: where, as places in ``run.sites``.
        where: the same for people: module paths.
        message: one sentence, with the numbers that matter.
        evidence: the numbers, by name.
        threshold: what they are held against, and where that comes from.
        equation: what lies behind it.
        confidence: share of the repeats, or of the steps from ``began`` to ``ended``, in which the rule fired, 0 to 1.
        began: in a run over time, the optimizer's step from which on it is so; None where nobody looked through time.
        born: whether that is the first step there is: it didn't develop.
        ended: the step from which on it is so no more; None while it lasts.

    Example:
        >>> Finding("UT101", "vanishing", Severity.ERROR, (), "fc1", "it fades").to_dict()["severity"]
        'error'
    """

    code: str
    name: str
    severity: Severity
    sites: tuple[int, ...]
    where: str
    message: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    threshold: str = ""
    equation: str = ""
    confidence: float = 1.0
    began: int | None = None
    born: bool = False
    ended: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: plain(value) for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        evidence = {name: np.nan if value is None else float(value) for name, value in data["evidence"].items()}
        given = {"severity": Severity(data["severity"]), "sites": tuple(data["sites"]), "evidence": evidence}
        return cls(**{**data, **given})


def _decades(gain: float) -> float:
    if np.isnan(gain):
        return float("nan")
    return float(np.log10(gain)) if gain > 0 else float("-inf")


def header_from(data: Mapping[str, Any]) -> dict[str, Any]:
    """A Run's header from JSON values: the inverse of `plain` on it."""
    return {key: _header_value(key, value) for key, value in data.items()}


def _header_value(key: str, value: Any) -> Any:
    if key != "loss":  # the only number of a header that may be inf or nan
        return value
    return np.nan if value is None else float(value)
