"""Predicted and re-measured change of the gradient's way: no training, so all patients can be asked."""

import math
from collections.abc import Iterable, Iterator
from statistics import median

from patients.ward import Patient
from undertow.doctoring.screening import look
from undertow.remedies import prescribe
from undertow.remedies.facts import with_facts


def gains(patients: Iterable[Patient]) -> Iterator[tuple[str, str, float, float]]:
    """Yield patient, remedy, predicted and measured change in decades, wherever something is predicted."""
    for patient in patients:
        training = patient.broken()
        before = look(training)
        if before.diagnosis is None or not math.isfinite(before.decades):
            continue
        for remedy in prescribe(with_facts(before.diagnosis, training)):
            if math.isfinite(remedy.predicted):
                after = look(training, (remedy,))
                if math.isfinite(after.decades):
                    yield patient.name, remedy.code, remedy.predicted, after.decades - before.decades


def told(found: Iterable[tuple[str, str, float, float]]) -> list[str]:
    """Return a table by remedy: how many predictions, and the median of how far they were off."""
    errors: dict[str, list[float]] = {}
    for _, code, predicted, measured in found:
        errors.setdefault(code, []).append(abs(predicted - measured))
    rows = [f"| {code} | {len(each)} | {median(each):.2f} |" for code, each in sorted(errors.items())]
    whole = [error for each in errors.values() for error in each]
    every = [f"| all | {len(whole)} | {median(whole):.2f} |"] if whole else []
    return ["| remedy | predictions | off by, decades, median |", "| --- | --- | --- |", *rows, *every]
