"""Leave out the rows of a Run that nobody can place: a damaged file has some whose step is not known."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.columns import Column, Columns, StoredColumns, column_shapes
from undertow.record.run import Run

LARGEST_STEP = 2.0**53
"""Beyond it a float64 does not tell two neighbouring steps apart."""


def with_finite_steps(run: Run) -> Run:
    """Return a Run without the rows whose step is no number from 0 to 2^53; the same Run if there are none.

    Columns that are read when they are asked for stay so.

    Example:
        >>> run = Run({}, (), scalars={"step": np.array([0.0, np.nan, 2.0]), "loss": np.array([3.0, 2.0, 1.0])})
        >>> with_finite_steps(run).scalars["loss"].tolist()
        [3.0, 1.0]
    """
    changed: dict[str, Any] = {}
    if (rows := placed_rows(run.steps.get("step"))) is not None:
        changed |= {group: _picked(getattr(run, group), rows) for group in ("columns", "edge_columns")}
        changed["steps"] = {name: values[rows] for name, values in run.steps.items()}
    if (rows := placed_rows(run.scalars.get("step"))) is not None:
        changed["scalars"] = {name: values[rows] for name, values in run.scalars.items()}
    if (rows := placed_rows(run.parameter_steps)) is not None:
        changed["parameter_columns"] = _picked(run.parameter_columns, rows)
        changed["parameter_steps"] = run.parameter_steps[rows]
    others = tuple(map(with_finite_steps, run.other_graphs))
    if any(one is not other for one, other in zip(others, run.other_graphs, strict=True)):
        changed["other_graphs"] = others
    return replace(run, **changed) if changed else run


def placed_rows(steps: Column | None) -> NDArray[np.intp] | None:
    """Return the places of the rows whose step is known; None if it is known of all.

    Example:
        >>> placed_rows(np.array([0.0, np.nan, 2.0])), placed_rows(np.array([0.0, 1.0]))
        (array([0, 2]), None)
    """
    if steps is None:
        return None
    known = (steps >= 0) & (steps <= LARGEST_STEP)
    return None if known.all() else np.flatnonzero(known)


def _picked(columns: Columns, rows: NDArray[np.intp]) -> Columns:
    if not isinstance(columns, StoredColumns):
        return {name: values[rows] for name, values in columns.items()}
    shapes: Mapping[str, tuple[int, ...]] = {
        name: (len(rows), *shape[1:]) for name, shape in column_shapes(columns).items()
    }
    return StoredColumns(shapes, lambda name: columns[name][rows])
