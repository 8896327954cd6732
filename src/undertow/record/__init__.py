"""The nouns: what one run of one model is, as every other part of undertow reads it.

A `Run` is a header, its `Site` s (the operations on the gradient's way back) and its numbers as columns,
``[steps, sites]`` or ``[steps, edges]``. Columns and not objects: four million readings as Python objects took 15
seconds to make. A `SiteReading` is a view of one row.
"""

from undertow.record.findings import BackwardGain, Finding, Severity, folded
from undertow.record.finite_steps import with_finite_steps
from undertow.record.quantities import EDGE_COLUMNS, PARAMETER_COLUMNS, SCALARS, SITE_COLUMNS, STEP_COLUMNS
from undertow.record.run import Run, SiteReading, header_from
from undertow.record.sites import Edge, Event, Role, Site, main_activation
from undertow.renamed import old_names

__all__ = [
    "EDGE_COLUMNS",
    "PARAMETER_COLUMNS",
    "SCALARS",
    "SITE_COLUMNS",
    "STEP_COLUMNS",
    "BackwardGain",
    "Edge",
    "Event",
    "Finding",
    "Role",
    "Run",
    "Severity",
    "Site",
    "SiteReading",
    "folded",
    "header_from",
    "main_activation",
    "with_finite_steps",
]

__getattr__ = old_names(__name__, {"Reading": "SiteReading"})
