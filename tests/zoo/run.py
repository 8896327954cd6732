"""Count how often the rules are right: every case of the zoo, at several seeds and stages.

python tests/zoo/run.py                       all of it, three seeds, and write docs/zoo.md and docs/zoo.json
python tests/zoo/run.py --only "GPT-2"        some of it, and only print
"""

import argparse
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded: every network is random

import torch

from undertow.examination import examine
from zoo import peers, tables
from zoo.case import FALLS_TO, Case, Subject, alarms, fall, found, places, train

DOCS = HERE.parents[2] / "docs"


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
    row |= {"expected": list(case.codes), "place": case.place, "peers": peers.verdicts(subject)}
    try:
        report = examine(subject.model, subject.compute_loss, subject.optimizer)
    except Exception:  # a crash is a result
        return {**row, "crash": traceback.format_exc(), "found": False, "alarms": ["crash"], "said": []}
    said = [f"{f.code} at {f.where}: {f.message}" for f in report.findings]
    elsewhere = [sorted(places(report, f) - {""})[:8] for f in report.findings if f.code in case.codes]
    hit = found(case, report)
    codes = sorted({f.code for f in alarms(report)})
    return {**row, "found": hit, "alarms": codes, "said": said, "elsewhere": [] if hit else elsewhere}


def judged(cases: list[Case], seeds: int) -> list[dict]:
    rows: list[dict] = []
    for case in cases:
        began = time.perf_counter()
        mine = [row for seed in range(seeds) for row in looks(case, seed)]
        rows += mine
        tell(case, mine, time.perf_counter() - began)
    return rows


def tell(case: Case, rows: list[dict], seconds: float) -> None:
    right = [tables.right(row) for row in rows]
    print(
        f"{sum(right)}/{len(rows)}  {case.family:16} {case.name:36} {max(r['fall'] for r in rows):.2f}  {seconds:.1f} s"
    )
    for row in (row for row, good in zip(rows, right, strict=True) if not good):
        said = [s for s in row["said"] if case.codes or s[:5] in row["alarms"]]
        crash = row.get("crash", "").strip().splitlines()[-5:]
        print(f"      {row['seed']} {row['stage']}: {said or '-'} {row.get('elsewhere') or ''} {crash or ''}"[:700])
    if not case.codes and max(row["fall"] for row in rows) > FALLS_TO:
        print("      not seen to train at every seed")
    sys.stdout.flush()


def all_cases() -> list[Case]:
    from zoo import architectures, defaults, faulty, healthy, reported, reported_loops

    return [
        *faulty.CASES,
        *healthy.CASES,
        *architectures.CASES,
        *defaults.CASES,
        *reported.CASES,
        *reported_loops.CASES,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a family or name; nothing is written then")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # transformers' own
    rows = judged([c for c in all_cases() if options.only in f"{c.family}: {c.name}"], options.seeds)
    if not options.only:
        lines = ",\n".join(json.dumps(tables.short(row)) for row in rows)
        (DOCS / "zoo.json").write_text(f"[\n{lines}\n]\n")
        (DOCS / "zoo.md").write_text(tables.page(rows))
        print(tables.page(rows))


if __name__ == "__main__":
    main()
