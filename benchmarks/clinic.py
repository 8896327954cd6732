"""The doctor among patients: how many it repairs, whom it leaves alone, and what others would have done.

python benchmarks/clinic.py admit             which set-ups are broken in 4 of 5 seeds, and mended by their fix
python benchmarks/clinic.py treat [NAME...]   the doctor on those that were admitted
python benchmarks/clinic.py page              docs/clinic.md from what was measured
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch

import undertow
from patients import broken, others
from patients.ward import Patient
from undertow.training import Training

HERE = Path(__file__).parent
RESULTS = HERE / "clinic.json"
FRESH = (5001, 5002, 5003, 5004, 5005)
BUDGET = 120.0
WAY = 0.9


def all_patients() -> list[Patient]:
    """Everyone."""
    return [*broken.patients(), *others.healthy(), *others.hopeless()]


def scores(training: Training, seeds: Iterable[int] = FRESH) -> list[float]:
    """Scores of full trainings, a seed each."""
    return [training.run(seed, scored=1).score for seed in seeds]


def admitted(patient: Patient) -> dict[str, Any]:
    """Measure whether a patient is what it is said to be."""
    began = time.perf_counter()
    ill = scores(patient.broken())
    seconds = (time.perf_counter() - began) / len(FRESH)
    start = patient.broken().run(FRESH[0], 1).start
    found = {"name": patient.name, "family": patient.family, "level": patient.level, "broken": ill, "start": start}
    if patient.mended is None:
        return {**found, "seconds": seconds, "admitted": patient.level in ("healthy", "hopeless")}
    well = scores(patient.mended())
    middle = median(well)
    bad = sum(score < start + 0.8 * (middle - start) if middle > start else True for score in ill)
    good = sum(score > median(ill) + 0.8 * (middle - median(ill)) for score in well)
    fine = bad >= 4 and good >= 4 and middle - median(ill) > 0.1
    return {**found, "mended": well, "seconds": seconds, "admitted": fine}


def treated(patient: Patient, known: dict[str, Any], budget: float) -> dict[str, Any]:
    """Let the doctor treat a patient, and judge it on fresh seeds."""
    began = time.perf_counter()
    treatment = undertow.doctor(patient.broken(), budget=budget, seeds=5)
    seconds = time.perf_counter() - began
    after = scores(treatment.training) if treatment.remedies else known["broken"]
    ill, well = median(known["broken"]), median(known.get("mended", known["broken"]))
    way = (median(after) - ill) / (well - ill) if well > ill else 0.0
    return {
        "verdict": treatment.verdict,
        "remedies": [f"{each.code} {dict(each.settings)}" for each in treatment.remedies],
        "after": after,
        "way": way,
        "seconds": seconds,
        "steps": treatment.steps,
        "findings": [finding.code for finding in treatment.findings if str(finding.severity) != "note"],
        "comparisons": [str(each) for each in treatment.comparisons],
        "attempts": [
            [" + ".join(f"{e.code} {dict(e.settings)}" for e in each.arm), each.stage, list(each.scores), each.error]
            for each in treatment.attempts
        ],
        "good": _good(known["level"], treatment.verdict, way, after, known["broken"]),
    }


def _good(level: str, verdict: str, way: float, after: list[float], before: list[float]) -> bool:
    if level == "hopeless":
        return verdict == "nothing helps"
    if level == "healthy":
        return verdict == "healthy" or (verdict == "repaired" and median(after) > median(before))
    return verdict == "repaired" and way >= WAY


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["admit", "treat", "page"])
    parser.add_argument("names", nargs="*", help="parts of names; all without")
    parser.add_argument("--budget", type=float, default=BUDGET)
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    wanted = [p for p in all_patients() if not asked.names or any(part in p.name for part in asked.names)]
    for key, value in _worked(asked, wanted, known):
        known[key] = {**known.get(key, {}), **value}
        RESULTS.write_text(json.dumps(known, indent=1))
    if asked.what == "page":
        from patients.page import page

        (HERE.parent / "docs" / "clinic.md").write_text(page(known))


def _worked(asked: Any, wanted: list[Patient], known: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for patient in wanted:
        key = f"{patient.family}: {patient.name}"
        if asked.what == "admit" and (asked.again or key not in known):
            found = admitted(patient)
            told = f"{median(found['broken']):.3f} -> {median(found.get('mended', [float('nan')])):.3f}"
            print(
                f"{'  ' if found['admitted'] else 'NO'} {patient.level} {key}: {told} ({found['seconds']:.2f} s)",
                flush=True,
            )
            yield key, found
        if (
            asked.what == "treat"
            and known.get(key, {}).get("admitted")
            and (asked.again or "verdict" not in known[key])
        ):
            found = treated(patient, known[key], asked.budget)
            told = f"{found['verdict']}, {found['way']:.2f} of the way, {found['seconds']:.0f} s: {found['remedies']}"
            print(f"{'ok' if found['good'] else '--'} {patient.level} {key}: {told}", flush=True)
            yield key, found


if __name__ == "__main__":
    main()
