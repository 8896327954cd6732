"""When the rules of single steps fired: a chosen few of the taped steps are judged, and beginnings found by bisection.

A run of 20,000 taped steps is judged at about 80 of them. A single step proves nothing (its batch may be an odd one):
what counts is what two of three neighbours among the judged steps agree on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.history import History
from undertow.rules.registry import RULES

SPREAD = 48
"""Steps judged, evenly over the run; beside them some that lie closer and closer towards both ends."""

SHORTEST = 3
"""Judged steps that a spell has, if there are as many."""

LEAST_PART = 0.03
"""Part of the run's steps that a spell must have lasted, if it is over."""

OFTEN = 0.6
"""Share of its steps in which a rule must have fired for several spells to be one."""

HARDLY_LEARNING = 0.01
"""Of the largest learning rate: less is meant to end the training, and steps that are too small are no fault."""

NEEDS = {"UT302": "weight_spread", "UT104": "progress", "UT105": "progress", "UT401": "update_ratio"}
"""Columns that aren't measured at every taped step: where they aren't, the rule's silence means nothing."""

AT_FIRST_ONLY = frozenset({"UT301"})
STANDING_STILL = frozenset({"UT104", "UT105"})
ELSEWHERE = frozenset({"UT103", "UT601"})
"""Judged over time by functions of their own."""

Key = tuple[str, ...]


@dataclass
class Panel:
    """Judges taped steps, each at most once."""

    history: History
    _heard: dict[int, dict[Key, Finding]] = field(default_factory=dict)
    _many: set[Key] = field(default_factory=set)

    def hear(self, row: int) -> Mapping[Key, Finding]:
        """What there is to say about one taped step, by code, name and place."""
        if row not in self._heard:
            diagnosis = Diagnosis(self.history.run, row)
            found: dict[Key, Finding] = {}
            for rule in RULES.values():
                if rule.over_time or rule.code in ELSEWHERE or (rule.code in AT_FIRST_ONLY and row > 0):
                    continue
                for finding in rule.judge(diagnosis):
                    if (finding.code, finding.name) in {key[:2] for key in found}:
                        self._many.add((finding.code, finding.name))
                    found[finding.code, finding.name, finding.where] = finding
            self._heard[row] = found
        return self._heard[row]

    def found(self) -> list[Key]:
        """Everything that was found so far, without its place where one step has it only once."""
        return sorted({self._short(key) for heard in self._heard.values() for key in heard})

    def at(self, row: int, key: Key) -> Finding | None:
        """The finding of that key at a taped step."""
        return next((found for full, found in self.hear(row).items() if self._short(full) == key), None)

    def _short(self, key: Key) -> Key:
        return key if key[:2] in self._many else key[:2]


@dataclass(frozen=True)
class Spell:
    """Judged rows ``first`` to ``last``, and in which share of them the rule fired."""

    first: int
    last: int
    share: float


def spells(history: History) -> list[Finding]:
    """What the rules of single steps say of a run: every finding once, with when it began and ended.

    Its numbers are those of the last step at which it was made, ``evidence["at step"]``.
    """
    panel = Panel(history)
    rows = sampled(history)
    for row in rows:
        panel.hear(row)
    found = (_over_time(panel, key, rows) for key in panel.found())
    return [finding for finding in found if finding is not None]


def sampled(history: History) -> list[int]:
    """The taped rows that are judged: all finite ones, or some of many."""
    rows = np.flatnonzero(history.finite)
    count = len(rows)
    if count <= SPREAD:
        return rows.tolist()
    near = np.unique(np.round(np.geomspace(1, count, 24)).astype(int)) - 1
    places = {*np.linspace(0, count - 1, SPREAD).round().astype(int), *near, *(count - 1 - near)}
    chosen = set(rows[sorted(places)].tolist())
    for column in NEEDS.values():
        seen = rows[_known(history, column)[rows]]
        if len(seen) < count:
            chosen.update(seen[:: -(-len(seen) // SPREAD) or 1].tolist())
    return sorted(chosen)


def _known(history: History, column: str) -> NDArray[np.bool_]:
    if column not in history.run.columns:
        return np.zeros(len(history.run), bool)
    measured: NDArray[np.bool_] = ~np.isnan(history.run.columns[column])
    return np.asarray(measured.any(1))


def _over_time(panel: Panel, key: Key, rows: Sequence[int]) -> Finding | None:
    history, code = panel.history, key[0]
    known = _known(history, NEEDS[code]) if code in NEEDS else np.ones(len(history.run), bool)
    if key[:2] == ("UT401", "update too small"):
        known = known & (history.rate >= HARDLY_LEARNING)
    rows = rows[:1] if code in AT_FIRST_ONLY else [row for row in rows if known[row]]
    fired = np.array([panel.at(row, key) is not None for row in rows], bool)
    spell = chosen(fired, history.steps[rows])
    if spell is None:
        return None
    start = _first(panel, key, rows, spell.first, known)
    last = next(row for row in reversed(rows[: spell.last + 1]) if panel.at(row, key))
    finding = panel.at(last, key)
    assert finding is not None  # noqa: S101  # it was asked for two lines above
    if spell.last + 1 < len(rows) and finding.severity is Severity.NOTE:  # no fault, and over
        return None
    finding = _excused(history, finding, last)
    ended = None
    if spell.last + 1 < len(rows):
        ended = int(history.steps[_border(panel, key, last, rows[spell.last + 1], known)])
    return replace(
        finding,
        severity=Severity.NOTE if ended is not None else finding.severity,
        evidence={**finding.evidence, "at step": float(history.steps[last])},
        confidence=spell.share,
        began=int(history.steps[start]),
        from_start=spell.first == 0 and start <= int(np.flatnonzero(history.finite & known)[0]),
        ended=ended,
    )


def _excused(history: History, finding: Finding, row: int) -> Finding:
    """Layers that stand still because their learning rate is 0 do so on purpose."""
    if finding.code not in STANDING_STILL:
        return finding
    sites = [history.run.sites[site] for site in finding.sites]
    rates = history.rates(row, {name for site in sites for name in site.parameters})
    if not len(rates) or rates.any():
        return finding
    return replace(finding, severity=Severity.NOTE, message=f"{finding.message} Their learning rate is 0.")


def chosen(fired: NDArray[np.bool_], steps: NDArray[np.floating]) -> Spell | None:
    """The spell to tell of: the last one, with those before it as long as the rule fired often on the whole.

    Example:
        >>> chosen(np.array([0, 1, 0, 0, 1, 1, 0, 1], bool), np.arange(8.0))
        Spell(first=4, last=7, share=0.75)
    """
    agreed = _agreed(fired)
    borders = np.flatnonzero(np.diff(np.concatenate([[False], agreed, [False]]).astype(int)))
    many = list(zip(borders[::2].tolist(), (borders[1::2] - 1).tolist(), strict=True))
    length = steps[-1] - steps[0] if len(steps) else 0.0
    kept = [(a, b) for a, b in many if b == len(fired) - 1 or steps[b] - steps[a] >= LEAST_PART * length]
    if not kept:
        return None
    first, last = kept[-1]
    for start, _ in reversed(kept[:-1]):
        if fired[start : last + 1].mean() < OFTEN:
            break
        first = start
    while not fired[first]:
        first += 1
    share = float(fired[first : last + 1].mean())
    return Spell(first, last, share) if fired[first : last + 1].sum() >= min(SHORTEST, len(fired)) else None


def _agreed(fired: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What two of three neighbours say; at an end, the first or last three."""
    if len(fired) < 3:
        return np.full(len(fired), bool(len(fired)) and bool(fired.all()))
    count = np.convolve(fired.astype(int), [1, 1, 1], "same")
    count[0], count[-1] = fired[:3].sum(), fired[-3:].sum()
    return np.asarray(count >= 2)


def _first(panel: Panel, key: Key, rows: Sequence[int], place: int, known: NDArray[np.bool_]) -> int:
    return rows[0] if place == 0 else _border(panel, key, rows[place - 1], rows[place], known)


def _border(panel: Panel, key: Key, low: int, high: int, known: NDArray[np.bool_]) -> int:
    """The row, after ``low`` and up to ``high``, from which on a rule says what it says at ``high``."""
    between = [row for row in range(low, high + 1) if known[row] and panel.history.finite[row]]
    says = panel.at(high, key) is not None
    a, b = 0, len(between) - 1
    while b - a > 1:
        middle = (a + b) // 2
        a, b = (a, middle) if (panel.at(between[middle], key) is not None) == says else (middle, b)
    return between[b]
