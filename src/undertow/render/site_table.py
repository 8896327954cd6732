"""Lay a Run out as columns that data frames take."""

from collections.abc import Callable
from typing import Any

from undertow.record import SITE_COLUMNS, Run, Site

DESCRIBED: dict[str, Callable[[Site], Any]] = {
    "site": lambda site: site.index,
    "module": lambda site: site.module,
    "module_type": lambda site: site.module_type,
    "op": lambda site: site.op,
    "role": lambda site: str(site.role),
    "activation": lambda site: site.activation or "",
    "shape": lambda site: list(site.shape),
    "parameters": lambda site: list(site.parameters),
}
"""What is said of a Site at every step alike."""


def site_table(run: Run) -> dict[str, list[Any]]:
    """Return one row for each Site of each recorded step, step by step.

    Example:
        >>> import numpy as np
        >>> from undertow.record import Role
        >>> sites = (Site(0, "fc", "addmm", Role.WEIGHT, (8, 3)),)
        >>> columns = site_table(Run({}, sites, columns={"grad_output": np.array([[0.5], [0.25]])}))
        >>> columns["step"], columns["module"], columns["grad_output"], columns["dead"]
        ([0, 1], ['fc', 'fc'], [0.5, 0.25], [nan, nan])
    """
    steps = range(len(run))
    columns: dict[str, list[Any]] = {"step": [step for step in steps for _ in run.sites]}
    for name, described in DESCRIBED.items():
        columns[name] = [described(site) for _ in steps for site in run.sites]
    for name in SITE_COLUMNS:
        columns[name] = [float(value) for step in steps for value in run.column(name, step)]
    return columns
