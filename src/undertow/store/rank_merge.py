"""Merge what several processes measured of one training run.

Every rank writes what it holds, so that no collective is added to training. Which numbers are parts of a whole, and how
they become it, the header says: ``header["partial"]["parameters"]["grad_norm"] == "squares"``. Rows are matched by
step. Parts are merged where all ranks have them, and are nan elsewhere; what no rule names is the mean over the ranks
that have it; steps, times and learning rates are rank 0's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.columns import Column, Columns, StoredColumns, column_shapes
from undertow.record import Event, Run

Values = NDArray[np.float64]


def _sum(values: Values) -> Values:
    nowhere = np.isnan(values).all(axis=0)
    return np.where(nowhere, np.nan, np.nansum(values, axis=0))


def _squares(values: Values) -> Values:
    return np.sqrt(_sum(values**2))


def _share(values: Values) -> Values:
    parts = _sum(values)
    total = np.nansum(parts, axis=-1, keepdims=True)
    return np.asarray(parts / np.where(total > 0, total, np.nan))


def _mean(values: Values) -> Values:
    return np.asarray(_sum(values) / np.maximum((~np.isnan(values)).sum(axis=0), 1))


RULES: Mapping[str, Callable[[Values], Values]] = {
    "squares": _squares,
    "sum": _sum,
    "max": lambda values: np.asarray(np.fmax.reduce(values, axis=0)),
    "share": _share,
    "mean": _mean,
    "first": lambda values: np.asarray(values[0]),
}
"""From [ranks, ...] to one. A nan is nothing: a rank that holds no part of this parameter.

- squares: norms of the parts of one tensor: the root of the sum of their squares.
- sum, max, mean; first: rank 0's.
- share: parts of -<g, dw>: their sum, divided by its sum over all parameters; nan where that isn't above 0.

There is a sixth, ratio: update_norm / weight_norm, after they are merged.
"""

_PARTS = ("squares", "sum", "share")
_FIRST = dict.fromkeys(("step", "time", "lr"), "first")
_GROUPS = {
    "columns": "sites",
    "edge_columns": "edges",
    "steps": "steps",
    "scalars": "scalars",
    "parameter_columns": "parameters",
}
"""Groups of a Run, and what the header calls them."""


def merged(run: Run, world: int, others: Sequence[Run]) -> Run:
    """Rank 0's Run with what the other ranks know.

    Args:
        run: of rank 0.
        world: how many ranks there are; where not all are here, what is made of parts is nan.
        others: of the other ranks.

    Example:
        >>> header = {"partial": {"scalars": {"grad_norm": "squares"}}}
        >>> parts = [Run(header, (), scalars={"step": np.array([0.0]), "grad_norm": np.array([g])}) for g in (3.0, 4.0)]
        >>> merged(parts[0], 2, parts[1:]).scalars["grad_norm"]
        array([5.])
    """
    rules = _rules(run)
    whole = {group: _group(group, rules[group], run, world, others) for group in _GROUPS}
    _ratio(whole["parameter_columns"], rules["parameter_columns"])
    settled: dict[str, Any] = {group: _settled(columns, getattr(run, group)) for group, columns in whole.items()}
    events = [*run.events, *(event for rank, other in enumerate(others, 1) for event in _events(rank, other))]
    header = {**run.header, **_unreached([run, *others]), "ranks": {"world": world, "read": 1 + len(others)}}
    return replace(
        run,
        header=header,
        events=tuple(sorted(events, key=lambda event: event.step) if others else events),
        **settled,
    )


def _unreached(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Find what no rank's gradient reached, and no rank ran: experts may have been chosen on another one."""
    found = {}
    for name in ("unreached", "not run"):
        known = [run.header[name] for run in runs if isinstance(run.header.get(name), list)]
        if known:
            found[name] = [each for each in known[0] if all(each in other for other in known[1:])]
    return found


def _rules(run: Run) -> dict[str, dict[str, str]]:
    given = run.header.get("partial")
    stated = given if isinstance(given, dict) else {}
    known = {group: stated.get(word) for group, word in _GROUPS.items()}
    return {group: {**_FIRST, **(names if isinstance(names, dict) else {})} for group, names in known.items()}


def _group(
    group: str, rules: Mapping[str, str], run: Run, world: int, others: Sequence[Run]
) -> dict[str, Callable[[], Column]]:
    ours: Columns = getattr(run, group)
    steps = [_steps(group, each) for each in (run, *others)]
    places = [_places(steps[0], each) for each in steps[1:]]
    alone = np.any([at < 0 for at in places], axis=0) if len(others) + 1 == world else np.ones(len(steps[0]), bool)

    def make(name: str) -> Column:
        rule = rules.get(name, "mean")
        if rule == "first":
            return ours[name]
        given = zip(others, places, strict=True)
        theirs = [_placed(getattr(other, group).get(name), at, ours[name]) for other, at in given]
        whole = RULES.get(rule, _mean)(np.stack([ours[name], *theirs]).astype(float))
        if rule in _PARTS:
            whole[alone] = np.nan
        return whole.astype(ours[name].dtype)

    return {name: partial(make, name) for name in ours}


def _ratio(columns: dict[str, Callable[[], Column]], rules: Mapping[str, str]) -> None:
    if rules.get("update_ratio") == "ratio" and {"update_ratio", "update_norm", "weight_norm"} <= columns.keys():
        above, below = columns["update_norm"], columns["weight_norm"]

        def ratio() -> Column:
            with np.errstate(divide="ignore", invalid="ignore"):
                return above() / below()

        columns["update_ratio"] = ratio


def _settled(columns: Mapping[str, Callable[[], Column]], ours: Columns) -> Columns:
    if isinstance(ours, StoredColumns):
        return StoredColumns(column_shapes(ours), lambda name: columns[name]())
    return {name: make() for name, make in columns.items()}


def _steps(group: str, run: Run) -> Column:
    of = {"scalars": run.scalars, "parameter_columns": {"step": run.parameter_steps}}.get(group, run.steps)
    return of["step"] if "step" in of else np.empty(0)


def _places(ours: Column, theirs: Column) -> NDArray[np.intp]:
    """For each of our rows the place of theirs at the same step: the first with the first, and so on; or -1."""
    places = {key: place for place, key in enumerate(_numbered(theirs))}
    return np.array([places.get(key, -1) for key in _numbered(ours)], np.intp)


def _numbered(steps: Column) -> Iterator[tuple[float, int]]:
    seen: dict[float, int] = {}
    for step in steps.tolist():
        seen[step] = seen.get(step, -1) + 1
        yield step, seen[step]


def _placed(values: Column | None, at: NDArray[np.intp], like: Column) -> Column:
    if values is None or not len(values) or values.shape[1:] != like.shape[1:]:
        return np.full_like(like, np.nan)
    return np.where((at < 0).reshape(-1, *[1] * (like.ndim - 1)), np.nan, values[at])


def _events(rank: int, run: Run) -> Iterator[Event]:
    for event in run.events:
        if event.kind != "session":
            yield replace(event, data={**event.data, "rank": rank})
