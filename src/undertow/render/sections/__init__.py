"""The sections of a report's page, one function each, in the order in which they stand.

A new section is a function ``(Diagnosis) -> Section | None`` in a module of its own, and its name in `SECTIONS`;
it returns None where it has nothing to show.
"""

from collections.abc import Callable

from undertow.diagnosis import Diagnosis
from undertow.render.blocks import Section
from undertow.render.sections.beside_theory import beside_theory
from undertow.render.sections.branches import branches
from undertow.render.sections.findings import answer, findings
from undertow.render.sections.operations import operations
from undertow.render.sections.way_back import way_back

__all__ = ["SECTIONS", "answer"]

SECTIONS: tuple[Callable[[Diagnosis], Section | None], ...] = (
    findings,
    way_back,
    branches,
    beside_theory,
    operations,
)
