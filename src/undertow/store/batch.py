"""`Batch`: what one transaction writes, all rows about the same thing side by side."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.jsonable import jsonable
from undertow.record import EDGE_COLUMNS, PARAMETER_COLUMNS, SITE_COLUMNS, Event
from undertow.store.appender import Appender
from undertow.store.packing import Key
from undertow.store.series import PARAMETERS, SCALARS, TAPED

Values = Mapping[str, NDArray[np.floating]]


_TIME = ("scalars", "time")
_KINDS = (np.dtype(np.float32), np.dtype(np.float64))


class Batch:
    """Rows, events and header entries to be written together, in the order in which they were added.

    Every method checks what it is given: what is wrong raises ValueError or TypeError and adds nothing. So a commit
    fails for the disk's reasons only.

    Example:
        >>> batch = Batch()
        >>> batch.scalars({"step": 3, "time": 0.5, "loss": 2.5})
        >>> batch.first()
        (3, 0.5)
        >>> batch.scalars({"step": 4, "loss": "much"})
        Traceback (most recent call last):
        ValueError: could not convert string to float: 'much'
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[dict[Key, Any]]] = {}
        self.events: list[Event] = []
        self._header: dict[str, Any] = {}
        self._place_of_step: dict[float, int] = {}

    def graph(self, about: str) -> None:
        """Add a graph, as `about_graph` describes it, that has no rows yet."""
        self.rows.setdefault((TAPED, about), [])

    def taped(
        self, about: str, sizes: tuple[int, int], by_site: Values, by_edge: Values, values: Mapping[str, float]
    ) -> None:
        """Add one full step of a graph.

        Args:
            about: the graph, as `about_graph` describes it.
            sizes: numbers of its Sites and of its edges.
            by_site, by_edge: columns by name, each [sites] or [edges].
            values: the step's own numbers, ``step`` and ``time`` among them.
        """
        row = {
            **dict(_checked("columns", by_site, SITE_COLUMNS, sizes[0])),
            **dict(_checked("edge_columns", by_edge, EDGE_COLUMNS, sizes[1])),
            **dict(_numbers("steps", values)),
        }
        self.rows.setdefault((TAPED, about), []).append(row)

    def scalars(self, values: Mapping[str, float]) -> None:
        """Add one step's numbers, ``step`` among them; those of a step that is there already join its row."""
        row = dict(_numbers("scalars", values))
        rows, step = self.rows.setdefault((SCALARS, ""), []), values["step"]
        if step in self._place_of_step:
            rows[self._place_of_step[step]].update({key: value for key, value in row.items() if key != _TIME})
        else:
            self._place_of_step[step] = len(rows)
            rows.append(row)

    def parameters(self, names: str, size: int, columns: Values, step: int) -> None:
        """Add one step's numbers of parameters: ``names`` as a JSON list of ``size``, columns of [size] each."""
        row = dict(_checked("parameter_columns", columns, PARAMETER_COLUMNS, size))
        self.rows.setdefault((PARAMETERS, names), []).append({**row, **dict(_numbers("parameter_steps", {"": step}))})

    def event(self, event: Event) -> None:
        """Add an event."""
        json.dumps(
            jsonable(event.data, infinite=True), allow_nan=False
        )  # or TypeError, here and not in the transaction
        step, kind, message = int(event.step), _text(event.kind), _text(event.message)
        if not -(2**63) <= step < 2**63:
            raise ValueError(f"no step can be {step}")
        self.events.append(Event(step, float(event.time), kind, message, event.data))

    def update_header(self, values: Mapping[str, Any]) -> None:
        """Set entries of the header."""
        json.dumps(jsonable(values, infinite=True), allow_nan=False)
        self._header.update(values)

    def first(self) -> tuple[int, float] | None:
        """Return step and time of the first row, None if there is none."""
        for (series, _), rows in self.rows.items():
            group = {SCALARS: "scalars", TAPED: "steps", PARAMETERS: "parameter_steps"}[series]
            for row in rows[:1]:
                return int(row.get((group, "step"), row.get((group, ""), -1))), row.get((group, "time"), float("nan"))
        return None

    def write(self, into: Appender) -> None:
        """Append all of it to a file, inside a transaction that somebody else begins and ends."""
        for (series, about), rows in self.rows.items():
            into.subject(series, about)
            for some in _alike(rows):
                into.rows(series, about, _side_by_side(some))
        for event in self.events:
            into.event(event)
        if self._header:
            into.header(self._header)
        into.counted()


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _checked(group: str, columns: Values, known: Mapping[str, str], width: int) -> Iterator[tuple[Key, Any]]:
    for name, given in columns.items():
        values = np.asarray(given)
        if name not in known:
            raise ValueError(f"no column is named {name!r}; there are: {', '.join(known)}")
        if values.shape != (width,):
            raise ValueError(f"column {name!r} has shape {values.shape}, but must be [{width}]")
        yield (group, name), values if values.dtype in _KINDS else values.astype(np.float32)


def _numbers(group: str, values: Mapping[str, float]) -> Iterator[tuple[Key, float]]:
    for name, value in values.items():
        yield (group, str(name)), float(value)


def _alike(rows: Sequence[dict[Key, Any]]) -> Iterator[Sequence[dict[Key, Any]]]:
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place].keys() != rows[start].keys():
            yield rows[start:place]
            start = place


def _side_by_side(rows: Sequence[dict[Key, Any]]) -> dict[Key, NDArray[np.floating]]:
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    return {key: values[:, None] if values.ndim == 1 else values for key, values in columns.items()}
