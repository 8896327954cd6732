"""The doctor among patients: how many it repairs, whom it leaves alone, and what others would have done.

python benchmarks/clinic.py admit             which set-ups are broken in 4 of 5 seeds, and mended by their fix
python benchmarks/clinic.py treat [NAME...]   the doctor on those that were admitted
python benchmarks/clinic.py again [NAME...]   those that were confirmed, on more seeds; no doctor
python benchmarks/clinic.py gains             how far off predicted changes of the gradient are; no training
python benchmarks/clinic.py page              docs/clinic.md from what was measured
"""

import argparse
import json
import sys
import time
from ast import literal_eval
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch

import undertow
from patients import broken, others
from patients.asked import asked
from patients.blind import blind
from patients.further import further
from patients.unseen import unseen
from patients.ward import Patient
from undertow.remedies import Remedy, apply
from undertow.training import Training

HERE = Path(__file__).parent
RESULTS, GAINS, BASELINES = HERE / "clinic.json", HERE / "gains.json", HERE / "baselines.json"
MORE = tuple(range(6001, 6021))
"""Seeds that neither a race, nor a confirmation, nor a judgement had."""

ALL_FRESH = (5001, 5002, 5003, 5004, 5005)
BUDGET = 120.0
WAY = 0.9
DOCTOR = 8
"""Which doctor it is: see `patients.page.VERSIONS`."""

CAPPED = 3.0
"""How many times as long a treatment may take that had a tenth of the budget."""


def all_patients() -> list[Patient]:
    """Everyone."""
    return [*broken.patients(), *unseen(), *blind(), *further(), *asked(), *others.healthy(), *others.hopeless()]


def scores(training: Training, seeds: Iterable[int]) -> list[float]:
    """Scores of full trainings, a seed each."""
    return [training.run(seed, scored=1).score for seed in seeds]


def admitted(patient: Patient, fresh: Sequence[int]) -> dict[str, Any]:
    """Measure whether a patient is what it is said to be."""
    began = time.perf_counter()
    ill = scores(patient.broken(), fresh)
    seconds = (time.perf_counter() - began) / len(fresh)
    start = patient.broken().run(fresh[0], 1).start
    found = {"name": patient.name, "family": patient.family, "level": patient.level, "broken": ill, "start": start}
    if patient.mended is None:
        return {**found, "seconds": seconds, "admitted": patient.level in ("healthy", "hopeless")}
    well = scores(patient.mended(), fresh)
    middle = median(well)
    bad = sum(score < start + 0.8 * (middle - start) if middle > start else True for score in ill)
    good = sum(score > median(ill) + 0.8 * (middle - median(ill)) for score in well)
    fine = bad >= 0.8 * len(fresh) and good >= 0.8 * len(fresh) and middle - median(ill) > 0.1
    return {**found, "mended": well, "seconds": seconds, "admitted": fine}


def treated(patient: Patient, known: dict[str, Any], asked: Any) -> dict[str, Any]:
    """Let the doctor treat a patient, and judge it on fresh seeds."""
    began = time.perf_counter()
    alone = {"processes": 0, "budget": 2 * asked.budget} if asked.cpu else {"budget": asked.budget}
    treatment = undertow.doctor(patient.broken(), seeds=asked.seeds, **alone)
    seconds = time.perf_counter() - began
    after = scores(treatment.training, ALL_FRESH[: asked.seeds]) if treatment.remedies else known["broken"]
    ill, well = median(known["broken"]), median(known.get("mended", known["broken"]))
    way = (median(after) - ill) / (well - ill) if well > ill else 0.0
    return {
        "by": DOCTOR,
        "budget": asked.budget,
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


def seen_again(patient: Patient, known: dict[str, Any], seeds: Sequence[int]) -> dict[str, list[float]]:
    """Train with and without what was confirmed, on seeds of their own."""
    ill = patient.broken()
    remedies = [
        Remedy(told.split(maxsplit=1)[0], literal_eval(told.split(maxsplit=1)[1])) for told in known["remedies"]
    ]
    return {"without": scores(ill, seeds), "with": scores(apply(remedies, ill), seeds)}


def _good(level: str, verdict: str, way: float, after: list[float], before: list[float]) -> bool:
    if level == "hopeless":
        return verdict == "nothing helps"
    if level == "healthy":
        return verdict == "healthy" or (verdict == "repaired" and median(after) > median(before))
    return verdict == "repaired" and way >= WAY


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["admit", "treat", "again", "gains", "page"])
    parser.add_argument(
        "names", nargs="*", help="parts of names and families, whole ones with a $ behind, or levels; all without"
    )
    parser.add_argument("--budget", type=float, default=BUDGET)
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    parser.add_argument(
        "--older", action="store_true", help="those that an older doctor treated, or with less; the cheapest first"
    )
    parser.add_argument("--seeds", type=int, default=5, help="of the confirmation and of what is measured here")
    parser.add_argument("--more", type=int, default=len(MORE), help="seeds of those that are seen again")
    parser.add_argument("--cpu", action="store_true", help="count processor time")
    parser.add_argument("--into", type=Path, default=RESULTS)
    asked = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    known = json.loads(asked.into.read_text()) if asked.into.exists() else {}
    if asked.what == "page":
        from patients.page import page

        measured = json.loads(GAINS.read_text()) if GAINS.exists() else []
        others = json.loads(BASELINES.read_text()) if BASELINES.exists() else {}
        (HERE.parent / "docs" / "clinic.md").write_text(page(known, measured, others))
        return
    if asked.what == "gains":
        from patients.gains import gains

        GAINS.write_text(json.dumps(list(gains(all_patients())), indent=1))
        return
    if asked.cpu:
        time.monotonic = time.perf_counter = time.process_time  # type: ignore[assignment]
    everyone = all_patients()
    if asked.names:  # in the order in which they are named
        everyone = [patient for part in asked.names for patient in everyone if _named(patient, part)]
    if asked.older:
        everyone = _outdated(everyone, known, asked)
    for patient in everyone:
        key = f"{patient.family}: {patient.name}"
        if asked.what == "again":
            _see_again(patient, key, known, asked)
        else:
            known[key] = _measured(patient, key, known.get(key, {}), asked)
            asked.into.write_text(json.dumps(known, indent=1))


def _see_again(patient: Patient, key: str, known: dict[str, Any], asked: argparse.Namespace) -> None:
    entry = known.get(key, {})
    if entry.get("verdict") == "repaired" and "again" not in entry:
        entry["again"] = seen_again(patient, entry, MORE[: asked.more])
        print(key, *(f"{median(each):.3f}" for each in entry["again"].values()), flush=True)
        asked.into.write_text(json.dumps(known, indent=1))


def _measured(patient: Patient, key: str, before: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Admit a patient and treat it, as far as that isn't done."""
    entry = {} if asked.again or asked.older else before
    if "broken" not in entry:
        entry = admitted(patient, ALL_FRESH[: asked.seeds])
        _tell_admission(key, entry)
    if asked.what == "treat" and entry["admitted"] and "verdict" not in entry:
        entry |= treated(patient, entry, asked)
        told = f"{entry['verdict']}, {entry['way']:.2f} of the way, {entry['seconds']:.0f} s: {entry['remedies']}"
        print(f"{'ok' if entry['good'] else '--'} {patient.level} {key}: {told}", flush=True)
        if "again" in before and before["remedies"] == entry["remedies"]:
            entry["again"] = before["again"]  # of the same remedies, whoever prescribed them
    return entry


def _outdated(everyone: Sequence[Patient], known: dict[str, Any], asked: argparse.Namespace) -> list[Patient]:
    """Return those that an older doctor treated, or with fewer seeds or less of a budget: the cheapest first."""
    found: list[tuple[float, Patient]] = []
    for patient in everyone:
        entry = known.get(f"{patient.family}: {patient.name}", {})
        if "verdict" not in entry:
            continue
        hasty = entry.get("budget", asked.budget) < asked.budget
        if hasty or entry.get("by", 1) < DOCTOR or len(entry["broken"]) < asked.seeds:
            found.append((entry["seconds"] * (CAPPED if hasty else 1.0), patient))
    return [patient for _, patient in sorted(found, key=lambda each: each[0])]


def _named(patient: Patient, part: str) -> bool:
    key = f"{patient.family}: {patient.name}"
    return part in (patient.level, f"{key}$") or (len(part) > 1 and part in key)


def _tell_admission(key: str, found: dict[str, Any]) -> None:
    told = f"{median(found['broken']):.3f} -> {median(found.get('mended', [float('nan')])):.3f}"
    mark = "  " if found["admitted"] else "NO"
    print(f"{mark} {found['level']} {key}: {told} ({found['seconds']:.2f} s)", flush=True)


if __name__ == "__main__":
    main()
