"""One run of one model: a header, the Sites, and the numbers as columns."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeVar
from warnings import warn

import numpy as np

from undertow.columns import Column, Columns, check_columns, check_rows, encode, row_counts, same_columns
from undertow.jsonable import jsonable
from undertow.record.checking import HEADER, RUN, checked, checked_column
from undertow.record.quantities import EDGE_COLUMNS, PARAMETER_COLUMNS, SITE_COLUMNS
from undertow.record.sites import Edge, Event, Site, graph_from

Result = TypeVar("Result")


class SiteReading(Mapping[str, float]):
    """A Site's numbers at one step: a view of one row of a `Run`. By name, as a mapping or as attributes.

    Example:
        >>> from undertow.record import Role
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
        return f"SiteReading({self.site.name}: {seen})"


@dataclass(eq=False)
class Run:
    """Everything that was measured: a header, the Sites, and the numbers of every recorded step.

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
        other_graphs: the same run where the model took other ways, each with its own Sites and taped steps: those
            that it took most often. Not compared by ``==``, and not in `to_dict`.

    Raises:
        ValueError: a column of the wrong shape or with an unknown name.

    Example:
        >>> from undertow.record import Role
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
    other_graphs: "tuple[Run, ...]" = ()

    def __post_init__(self) -> None:
        check_columns(self.columns, SITE_COLUMNS, len(self.sites), "sites")
        check_columns(self.edge_columns, EDGE_COLUMNS, len(self.edges), "edges")
        check_columns(self.parameter_columns, PARAMETER_COLUMNS, len(self.parameters), "parameters")
        check_rows("steps", self.columns, self.edge_columns, self.steps)
        check_rows("noted steps", self.scalars)
        check_rows("parameters' steps", self.parameter_columns, {"": self.parameter_steps})

    def __repr__(self) -> str:
        model, noted = self.header.get("model", "a model"), len(next(iter(self.scalars.values()), ()))
        steps = (
            f"{len(self)} step{'' if len(self) == 1 else 's'} measured in full{f' of {noted} noted' if noted else ''}"
        )
        return f"<Run of {model}: {len(self.sites)} sites, {steps}>"

    def __len__(self) -> int:
        return next((rows for group in (self.steps, self.columns, self.edge_columns) for rows in row_counts(group)), 0)

    def reading(self, site: int, step: int = -1) -> SiteReading:
        """The numbers of ``sites[site]`` at a recorded step (its place among the recorded ones; -1 is the last)."""
        return SiteReading(self, step, self.sites[site])

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

    @cached_property
    def _memo(self) -> dict[Any, Any]:
        """Keep what was worked out of the Sites and edges alone, by the function that did: see `of_graph`."""
        return {}

    def of_graph(self, work_out: "Callable[[Run], Result]") -> "Result":
        """Return what a function makes of the Sites and edges, worked out once for all steps.

        Example:
            >>> run = Run({}, ())
            >>> run.of_graph(lambda run: len(run.sites))
            0
        """
        if work_out not in self._memo:
            self._memo[work_out] = work_out(self)
        return self._memo[work_out]

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
        return jsonable(self.header, infinite=True), self.sites, self.edges, self.parameters, events

    @property
    def _groups(self) -> list[Columns]:
        return [*(getattr(self, name) for name in _GROUPS), {"parameter_steps": self.parameter_steps}]

    @property
    def elsewhere(self) -> "tuple[Run, ...]":
        """The old name of `other_graphs`."""
        warn("Run.elsewhere is called Run.other_graphs now", DeprecationWarning, stacklevel=2)
        return self.other_graphs

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; inf and nan become strings and None, as JSON knows neither."""
        return {
            "header": jsonable(self.header, infinite=True),
            "sites": [site.to_dict() for site in self.sites],
            "edges": [[edge.source, edge.target] for edge in self.edges],
            "parameters": list(self.parameters),
            **{group: encode(getattr(self, group)) for group in _GROUPS},
            **encode({"parameter_steps": self.parameter_steps}),
            "events": [event.to_dict() for event in self.events],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. What an earlier undertow did not write is empty.

        Raises:
            ValueError, KeyError, TypeError: this is no Run.
        """
        checked(data, RUN, "a Run")
        sites, edges = graph_from(data["sites"], data["edges"])
        return cls(
            header_from(data["header"]),
            sites,
            edges,
            **{group: _decoded(data.get(group, {})) for group in _GROUPS[:3]},
            scalars=_decoded(data.get("scalars", {})),
            parameters=tuple(data.get("parameters", ())),
            parameter_columns=_decoded(data.get("parameter_columns", {})),
            parameter_steps=_decoded({"": data.get("parameter_steps", _NOTHING)})[""],
            events=tuple(map(Event.from_dict, data.get("events", ()))),
            other_graphs=(),
        )


def _decoded(columns: Mapping[str, Any]) -> dict[str, Column]:
    return {name: checked_column(column, name) for name, column in columns.items()}


_NOTHING = {"dtype": "float64", "shape": [0], "values": []}
_GROUPS = ("columns", "edge_columns", "steps", "scalars", "parameter_columns")


def header_from(data: Mapping[str, Any]) -> dict[str, Any]:
    """Make a Run's header of JSON values: the inverse of `jsonable` on it.

    Raises:
        ValueError: a fact that pages or rules read is of another kind.
    """
    checked(data, HEADER, "the header", closed=False)
    return {key: _header_value(key, value) for key, value in data.items()}


def _header_value(key: str, value: Any) -> Any:
    if key != "loss":  # the only number of a header that may be inf or nan
        return value
    return np.nan if value is None else float(value)
