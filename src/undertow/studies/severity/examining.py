"""How much of each fault a network starts with: amounts of the rules' own measures, under their thresholds as well."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.examination import examine
from undertow.rules import ut1_memory, ut1_paths, ut1_progress, ut1_scale, ut2_units, ut3_initialisation
from undertow.studies.severity.config import RATES
from undertow.studies.severity.tasks import task
from undertow.studies.severity.training import loss_of, network, optimizer_of

Amount = tuple[str, float]


def amounts(data: str, optimizer: str, seed: int, kind: str, steps: int = 0, **made_of: Any) -> dict[str, Any]:
    """Examine a fresh network with its optimizer, before its first step.

    Returns:
        For every rule of the gradient's scale that has something to measure its amount, by code: decades from end to
        end (UT101, UT102, UT106, UT301), the share of progress (UT104, UT105), the horizon as a part of the sequence
        (UT107), shares of values or units (UT201, UT202). ``fault``: what makes the decay of UT101, "activation" or
        "weights"; ``at end``: whether the loss sits at the sequence's end; ``findings``: codes of what is found.
    """
    chosen = task(data, steps)
    model = network(chosen, seed, kind=kind, steps=steps, **made_of)
    stepper = optimizer_of(optimizer, RATES[optimizer][0], model)
    report = examine(model, lambda: loss_of(model, chosen.first), stepper)
    diagnosis = Diagnosis(report.run)
    found = {"findings": sorted({each.code for each in report.findings})}
    measures = (_vanishing, _exploding, _progress, _branches, _memory, _units, _start)
    return {**found, **{name: value for measure in measures for name, value in measure(diagnosis)}}


def _vanishing(diagnosis: Diagnosis) -> Iterator[tuple[str, Any]]:
    found = ut1_scale.fading(diagnosis)
    if found is not None and found.steady and found.rate < 0:
        yield "UT101", found.total
        yield "fault", ut1_scale.kind_of(found, ut1_scale.decades_by_cause(diagnosis, found))


def _exploding(diagnosis: Diagnosis) -> Iterator[Amount]:
    found = ut1_scale.growth(diagnosis)
    if found is not None and found.steady and found.rate > 0:
        yield "UT102", found.climb


def _progress(diagnosis: Diagnosis) -> Iterator[Amount]:
    """Share of a step's progress that the front and the back half of the layers make."""
    halves = ut1_progress.halves(diagnosis)
    yield from ((code, halves[half].share) for code, half in (("UT104", "front"), ("UT105", "back")) if half in halves)


def _branches(diagnosis: Diagnosis) -> Iterator[Amount]:
    steady = [found.total for _, found in ut1_paths.branches(diagnosis) if found.steady and found.rate < 0]
    if steady:
        yield "UT106", min(steady)


def _memory(diagnosis: Diagnosis) -> Iterator[tuple[str, Any]]:
    for _, longest, at_end in ut1_memory.memories(diagnosis):
        yield "UT107", min(longest.horizon / longest.loop.steps, 1e6)
        yield "at end", at_end


def _units(diagnosis: Diagnosis) -> Iterator[Amount]:
    for code, column in (("UT201", "saturated"), ("UT202", "dead")):
        share = diagnosis.column(column)
        sites = ut2_units.flat_sites(diagnosis, -1.0) if code == "UT201" else diagnosis.run.sites
        known = [float(share[site.index]) for site in sites if np.isfinite(share[site.index])]
        if known:
            yield code, max(known)


def _start(diagnosis: Diagnosis) -> Iterator[Amount]:
    expected = ut3_initialisation.expected_decades(diagnosis)
    if expected is not None:
        yield "UT301", expected
