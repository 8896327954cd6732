"""Count how often the rules are right: every case of the zoo, at several seeds and stages.

    python tests/zoo/run.py [--seeds 3] [--only WORDS] [--out FILE.json]
"""

import argparse
import json
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from undertow.examination import examine
from zoo import peers
from zoo.case import FALLS_TO, Case, Subject, alarms, fall, found, places, train


def looks(case: Case, seed: int) -> Iterator[dict]:
    """One row for every stage that a case is judged at."""
    subject = case.build(seed)
    rows = [look(case, subject, seed, "start")]
    losses = train(subject, case.steps)
    if "trained" in case.judged:
        rows.append(look(case, subject, seed, "trained"))
    for row in rows:
        if row["stage"] in case.judged:
            yield {**row, "fall": fall(losses)}


def look(case: Case, subject: Subject, seed: int, stage: str) -> dict:
    row = {"name": case.name, "family": case.family, "seed": seed, "stage": stage, "faulty": bool(case.codes)}
    row["peers"] = peers.verdicts(subject)
    try:
        report = examine(subject.model, subject.compute_loss, subject.optimizer)
    except Exception:  # a crash is a result
        return {**row, "crash": traceback.format_exc(), "found": False, "alarms": ["crash"], "said": []}
    said = [f"{f.code} at {f.where}: {f.message}" for f in report.findings]
    codes = sorted({f.code for f in alarms(report)})
    elsewhere = [sorted(places(report, f) - {""})[:8] for f in report.findings if f.code in case.codes]
    hit = found(case, report)
    return {**row, "found": hit, "alarms": codes, "said": said, "elsewhere": [] if hit else elsewhere}


def judged(cases: list[Case], seeds: int) -> list[dict]:
    rows = []
    for case in cases:
        began = time.perf_counter()
        for seed in range(seeds):
            rows += looks(case, seed)
        tell(case, [row for row in rows if row["name"] == case.name], time.perf_counter() - began)
    return rows


def tell(case: Case, rows: list[dict], seconds: float) -> None:
    right = sum(row["found"] if case.codes else not row["alarms"] for row in rows)
    print(f"{right}/{len(rows)}  {case.family:16} {case.name:36} fall {max(r['fall'] for r in rows):.2f}  {seconds:.1f} s")
    wrong = [row for row in rows if (not row["found"] if case.codes else row["alarms"])]
    for row in wrong:
        said = [s for s in row["said"] if case.codes or s[:5] in row["alarms"]]
        crash = row.get("crash", "").strip().splitlines()[-5:]
        print(f"      {row['seed']} {row['stage']}: {said or '-'} {row.get('elsewhere') or ''} {crash or ''}"[:700])
    if not case.codes and max(row["fall"] for row in rows) > FALLS_TO:
        print("      NOT SEEN TO TRAIN")
    sys.stdout.flush()


def all_cases() -> list[Case]:
    from zoo import architectures, faulty, healthy

    return [*faulty.CASES, *healthy.CASES, *architectures.CASES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    only = options.only
    cases = [c for c in all_cases() if only in ("healthy", "faulty") and bool(c.codes) == (only == "faulty") or only in f"{c.family}: {c.name}"]
    rows = judged(cases, options.seeds)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
