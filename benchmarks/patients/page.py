"""docs/clinic.md: what was measured, as a page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from patients.gains import told as told_gains

Entry = Mapping[str, Any]

BEGINNING = """# The clinic

Made by `make clinic`: trainings that are broken, healthy or hopeless, and what `undertow.doctor` makes of them. A
broken one is admitted only if it was measured to be broken in four of five seeds, and its reference fix to be good in
as many. *Repaired* means: by its verdict, and the median score over fresh seeds at least 90 % of the way from broken to
the reference fix. Data are scikit-learn's digits, iris, wine and breast cancer, and synthetic. The budget is 120 s on
two cores, or twice that in processor time of one (`--cpu`); seconds are of one.

Those called *unseen* were written before the doctor had been tried on them. Of the eleven measured, the second doctor
failed at two (24 layers of a graph: nothing helps; a batch norm of two: 0.83 of the way), and remedies were added
before three more were measured (dropout of functions, a penalty, gradients never zeroed): those five speak for the
third doctor only as all the others do, which it was developed on.

Those called *blind* are images, tokens, series and graphs, written before the doctor was tried on them. Six were
treated by the third doctor as it was. Remedies for masks that are turned round, for places that nothing tells and for
terms that drown others were added before the rest were treated: of these, three speak for the fourth doctor as what it
was developed on does.

When all were treated anew on five seeds each, the fifth doctor failed at two: a curve behind a softmax (0.48 of the
way) and a critic behind a sigmoid (0.71). Both are mended in the sixth, which has treated these two alone. Two that
were admitted on three seeds aren't on five.

Those called *further* and *asked* are fifteen of kinds that the clinic hadn't, the latter after questions that people
ask again and again; all were written before the doctor was tried on them. The sixth doctor repaired none of the
fifteen: ten times it said that nothing helps, once that a training is healthy, and four times it called repaired what
had gone 0.01, 0.18, 0.38 and 0.84 of the way. It had no remedy for most of these kinds, and where a batch holds the
targets of two tasks it took what was learned for chance. The seventh has remedies for all of them: what it makes of
these rows is what it was developed on, and says nothing about kinds that nobody has thought of.
Four of the *unseen* have not been treated anew yet, and are left out here.
"""
VERSIONS = {
    1: "the first",
    2: "the second, which looks at what a loss calls, and twice where seeds differ",
    3: "the third, which knows layers of the user's own, functions that drop, penalties, and batches of a few",
    4: "the fourth, which knows masks, places, norms of the user's own blocks, and terms that drown others",
    5: "the fifth, which calls no training repaired by longer steps alone that it had no time to see to its end",
    6: "the sixth, which tells remedies of equal losses apart by their scores, and prefers the surer of two as good",
    7: "the seventh, which looks at what a loss is given, and mixes up all of several targets",
    8: "the eighth, which knows arguments, masks, weights and layers that stand in the wrong place, and derivatives",
}
"""Doctors that set-ups were treated by."""
SEEDS, BUDGET = 5, 120
WAY = 0.9
GAINS = """What a remedy is predicted to do to the gradient between the loss and the front, in decades, and what an
examination of a fresh model with it says; nothing is trained for that.
"""
NAMES = {"A": "the step", "B": "the start", "C": "the architecture", "D": "the objective"}


OTHERS = """Beside it, on the same fresh seeds, for the set-ups that `benchmarks/baselines.json` has: twelve remedies
drawn at random, one or two at a time, each trained once; AUTOTRAINER's order of remedies after a sign, one run each;
AdamW at four rates, one run each. The doctor makes some sixty short runs and ten to fifteen full ones: it costs more.
Therefore also with as much processor time as the doctor took, where that was measured: remedies drawn at random for
seven tenths of it, the five best on more seeds; AdamW at eleven rates, each on as many seeds as there is time for.
"""


def page(
    known: Mapping[str, Entry],
    gains: Sequence[tuple[str, str, float, float]] = (),
    others: Mapping[str, Any] | None = None,
) -> str:
    """Return the page.

    Args:
        known: what was measured, by patient.
        gains: as `patients.gains` yields them.
        others: what others made of them, as `baselines.compared` returns it, by patient.
    """
    seen = [entry for entry in known.values() if entry["admitted"] and "verdict" in entry]
    left = [name for name, entry in known.items() if not entry["admitted"]]
    few = sum(len(entry["broken"]) < SEEDS for entry in seen)
    told = f"{few} of the {len(seen)} were measured, and confirmed, with fewer than {SEEDS} seeds.\n" if few else ""
    hasty = [entry["budget"] for entry in seen if entry.get("budget", BUDGET) < BUDGET]
    told += f"{len(hasty)} had a budget of {min(hasty):g} to {max(hasty):g} s instead of 120.\n" if hasty else ""
    told += _versions(seen)
    parts = [
        BEGINNING,
        told,
        "## In short",
        *_table(["", "set-ups", "as it should be", "seconds, median"], _levels(seen)),
    ]
    parts += ["", "## Each of them", *_table(
        ["set-up", "level", "broken", "reference fix", "after", "of the way", "verdict", "remedies", "seconds", "seeds",
         "doctor"],
        (_row(name, e) for name, e in known.items() if e["admitted"] and "verdict" in e))]  # fmt: skip
    parts += ["", "## Each remedy", *_table(["remedy", "tried", "confirmed", "harmful"], _remedies(seen))]
    parts += ["", "## Confirmed, and seen again", _seen_again(seen)]
    if others:
        parts += ["", "## Others", OTHERS, *_table(["", "repaired", "of the way, median"], _others(others, known))]
    if gains:
        parts += ["", "## Predicted and measured", GAINS, *told_gains(gains)]
    if left:
        parts += ["", "Measured and not admitted: " + "; ".join(left) + "."]
    return "\n".join(part for part in parts if part is not told or told) + "\n"


def _versions(seen: Sequence[Entry]) -> str:
    """Say which doctor treated how many."""
    many = Counter(entry.get("by", 1) for entry in seen)
    told = ",\n".join(f"{many[number]} by {words}" for number, words in VERSIONS.items() if many[number])
    return f"The column *doctor* says which version treated a set-up:\n{told}.\n"


def _seen_again(seen: Sequence[Entry]) -> str:
    """Say how often what was confirmed helps on seeds that neither the race nor the confirmation had."""
    helped = [entry for entry in seen if entry["verdict"] == "repaired"]
    pairs = [(a, b) for entry in helped for a, b in zip(entry["after"], entry["broken"], strict=False)]
    better = sum(median(entry["after"]) > median(entry["broken"]) for entry in helped)
    return (
        f"{len(helped)} treatments were confirmed to help. On seeds that neither the race nor the confirmation had, "
        f"{better} of them\nhelp in the median, and {sum(a > b for a, b in pairs)} of {len(pairs)} single trainings "
        "are better with the remedies than without." + _on_more(helped)
    )


def _on_more(helped: Sequence[Entry]) -> str:
    """Say the same of those that were trained on many more seeds."""
    again = [entry["again"] for entry in helped if "again" in entry]
    if not again:
        return ""
    pairs = [pair for each in again for pair in zip(each["with"], each["without"], strict=True)]
    better = sum(median(each["with"]) > median(each["without"]) for each in again)
    codes = Counter(told.split()[0] for entry in helped if "again" in entry for told in entry["remedies"])
    many = ", ".join(f"{code} {count}" for code, count in codes.most_common())
    return (
        f"\n\n{len(again)} of them were trained on {len(again[0]['with'])} seeds more, with and without "
        f"(`clinic.py again`): {better} help in the median,\nand {sum(a > b for a, b in pairs)} of {len(pairs)} single "
        f"trainings are better with the remedies. How often each was among them: {many}."
    )


def _others(others: Mapping[str, Any], known: Mapping[str, Entry]) -> Iterator[Sequence[str]]:
    """Yield who, how many are repaired by the criterion above, and how much of the way is gone in the median."""
    names = [name for name in others if "verdict" in known.get(name, {})]
    ways = {
        "nothing": [0.0 for _ in names],
        "remedies at random": [others[name]["random"]["way"] for name in names],
        "a fixed order": [others[name]["fixed"]["way"] for name in names],
        "AdamW at four rates": [others[name]["adam"]["way"] for name in names],
        "the doctor": [known[name]["way"] if known[name]["verdict"] == "repaired" else 0.0 for name in names],
        "the reference fix": [1.0 for _ in names],
    }
    for who, way in ways.items():
        yield [who, f"{sum(each >= WAY for each in way)} of {len(names)}", f"{median(way):.2f}"]
    equal = [name for name in names if "equal" in others[name]]
    for who, key in (("remedies at random", "random"), ("AdamW at eleven rates", "adam")) if equal else ():
        way = [others[name]["equal"][key]["way"] for name in equal]
        yield [
            f"{who}, in the doctor's time",
            f"{sum(each >= WAY for each in way)} of {len(equal)}",
            f"{median(way):.2f}",
        ]
    silent = sum(others[name]["fixed"]["silent"] for name in names)
    yield ["a fixed order, by its own criterion: no sign is left", f"{silent} of {len(names)}", ""]


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    return [_line(heads), _line(["---"] * len(heads)), *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _levels(seen: Sequence[Entry]) -> Iterator[Sequence[str]]:
    groups = [(f"level {level}, {words}", [e for e in seen if e["level"] == level]) for level, words in NAMES.items()]
    groups += [("levels A to C", [e for e in seen if e["level"] in "ABC"])]
    groups += [("all levels", [e for e in seen if e["level"] in NAMES])]
    groups += [(kind, [e for e in seen if e["level"] == kind]) for kind in ("healthy", "hopeless")]
    for name, each in groups:
        if each:
            good = sum(e["good"] for e in each)
            yield [
                name,
                str(len(each)),
                f"{good} ({good / len(each):.0%})",
                f"{median(e['seconds'] for e in each):.0f}",
            ]


def _row(name: str, entry: Entry) -> Sequence[str]:
    scores = [_score(entry.get(key)) for key in ("broken", "mended", "after")]
    way = f"{entry['way']:.2f}" if entry["level"] in NAMES else ""
    verdict = entry["verdict"] if entry["good"] else f"**{entry['verdict']}**"
    return [name, entry["level"], *scores, way, verdict, " + ".join(entry["remedies"]), f"{entry['seconds']:.0f}",
            str(len(entry["broken"])), str(entry.get("by", 1))]  # fmt: skip


def _score(values: Sequence[float] | None) -> str:
    return f"{median(values):.3f}" if values else ""


def _remedies(seen: Sequence[Entry]) -> Iterator[Sequence[str]]:
    tried, confirmed, harmful = Counter[str](), Counter[str](), Counter[str]()
    for entry in seen:
        codes = {part.split()[0] for attempt in entry["attempts"] for part in attempt[0].split(" + ")}
        tried.update(codes)
        confirmed.update({each.split()[0] for each in entry["remedies"]})
        for told in entry["comparisons"]:
            if told.startswith("HARMS"):
                harmful.update(word for word in told.split() if word.startswith("UR"))
    for code in sorted(tried):
        yield [code, str(tried[code]), str(confirmed[code]), str(harmful[code])]
