"""Find when the rules of single steps fired: judge a few of the full steps, and bisect for the beginnings.

A run of 20,000 full steps is judged at about 80 of them. A single step proves nothing (its batch may be an odd one):
what counts is what two of three neighbours among the judged steps agree on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.consequences import without_outcome
from undertow.rules.failures import findings_by
from undertow.rules.guessing import better_than_guessing
from undertow.rules.registry import RULES, Rule, holds_for
from undertow.wording import size

SPREAD = 48
"""Steps judged, evenly over the run; beside them some that lie closer and closer towards both ends."""

MOST_SITES, FEWEST_JUDGED = 36_000, 12
"""Sites in all steps judged: of graphs of more than a thousand fewer steps are judged, so that it takes no longer."""

SHORTEST = 3
"""Judged steps that an interval has, if there are as many."""

LEAST_PART = 0.03
"""Part of the run's steps that an interval must have lasted, if it is over."""

OFTEN = 0.6
"""Share of its steps in which a rule must have fired for several intervals to be one."""

HARDLY_LEARNING = 0.01
"""Of the largest learning rate: less is meant to end the training, and steps that are too small are no fault."""

HALF = 0.5
FEWEST_LOSSES = 10
"""Losses without which nothing is said of how far they fell."""

Key = tuple[str, ...]


@dataclass
class RuleSampler:
    """Judge full steps by the rules of single steps, each at most once."""

    history: RunHistory
    _judged: dict[int, dict[Key, Finding]] = field(default_factory=dict)
    _many: set[Key] = field(default_factory=set)

    def judge(self, row: int) -> Mapping[Key, Finding]:
        """Return the findings of one full step, by code, name and place."""
        if row not in self._judged:
            diagnosis = Diagnosis(self.history.run, row)
            found: dict[Key, Finding] = {}
            for finding in self._findings(diagnosis, row):
                if (finding.code, finding.name) in {key[:2] for key in found}:
                    self._many.add((finding.code, finding.name))
                found[finding.code, finding.name, finding.where] = finding
            self._judged[row] = found
        return self._judged[row]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that judge single steps of this run; a code that has a judge of whole runs is left to that."""
        run = self.history.run
        return tuple(each for each in RULES.values() if each.judges_steps and each.applies_to(run))

    def _findings(self, diagnosis: Diagnosis, row: int) -> Iterator[Finding]:
        for rule in self.rules:
            if rule.judge is not None and not (rule.first_step_only and row > 0):
                yield from findings_by(rule.code, rule.judge, diagnosis)

    def found(self) -> list[Key]:
        """Return the key of every finding so far, without its place where no step has it more than once."""
        return sorted({self._short(key) for judged in self._judged.values() for key in judged})

    def at(self, row: int, key: Key) -> Finding | None:
        """Return the finding of that key at a full step, None if there is none."""
        return next((found for full, found in self.judge(row).items() if self._short(full) == key), None)

    def _short(self, key: Key) -> Key:
        return key if key[:2] in self._many else key[:2]


@dataclass(frozen=True)
class FiringInterval:
    """Judged rows ``first`` to ``last``, between which a rule fired, and in which ``share`` of them it did."""

    first: int
    last: int
    share: float


def findings_of_steps(history: RunHistory) -> list[Finding]:
    """Judge a run by the rules of single steps: every finding once, with when it began and ended.

    Its numbers are those of the last step at which it was made, ``evidence["at step"]``.
    """
    sampler = RuleSampler(history)
    rows = sampled(history)
    for row in rows:
        sampler.judge(row)
    found = (_finding_of_run(sampler, key, rows) for key in sampler.found())
    return [finding for finding in found if finding is not None]


def sampled(history: RunHistory) -> list[int]:
    """Choose the full steps to judge: all finite ones, or some of many."""
    rows = np.flatnonzero(history.finite)
    count = len(rows)
    spread = min(SPREAD, max(FEWEST_JUDGED, MOST_SITES // max(len(history.run.sites), 1)))
    if count <= spread:
        return rows.tolist()
    near = np.unique(np.round(np.geomspace(1, count, spread // (2 if spread == SPREAD else 3))).astype(int)) - 1
    places = {*np.linspace(0, count - 1, spread).round().astype(int), *near, *(count - 1 - near)}
    chosen = set(rows[sorted(places)].tolist())
    for column in {name for rule in RULES.values() if rule.judges_steps for name in rule.sparse_columns}:
        seen = rows[history.measured(column)[rows]]
        if len(seen) < count:
            chosen.update(seen[:: -(-len(seen) // spread) or 1].tolist())
    return sorted(chosen)


def _finding_of_run(sampler: RuleSampler, key: Key, rows: Sequence[int]) -> Finding | None:
    history, rule = sampler.history, RULES[key[0]]
    known = _decidable(history, rule, key[1])
    rows = rows[:1] if rule.first_step_only else [row for row in rows if known[row]]
    fired = np.array([sampler.at(row, key) is not None for row in rows], bool)
    interval = firing_interval(fired, history.steps[rows])
    if interval is None:
        return None
    start = _first(sampler, key, rows, interval.first, known)
    last = next(row for row in reversed(rows[: interval.last + 1]) if sampler.at(row, key))
    finding = sampler.at(last, key)
    assert finding is not None  # noqa: S101  # it was asked for two lines above
    if interval.last + 1 < len(rows) and finding.severity is Severity.NOTE:  # no fault, and over
        return None
    finding = _excused(history, finding, last, start)
    ended = None
    if interval.last + 1 < len(rows):
        ended = int(history.steps[_border(sampler, key, last, rows[interval.last + 1], known)])
    return replace(
        finding,
        severity=Severity.NOTE if ended is not None else finding.severity,
        evidence={**finding.evidence, "at step": float(history.steps[last])},
        confidence=interval.share,
        began=int(history.steps[start]),
        from_start=interval.first == 0 and start <= int(np.flatnonzero(history.finite & known)[0]),
        ended=ended,
    )


def _decidable(history: RunHistory, rule: Rule, name: str) -> NDArray[np.bool_]:
    """Return for every full step whether the rule's silence there means that all is well, [rows]."""
    known = np.ones(len(history.run), bool)
    for column in rule.sparse_columns:
        known &= history.measured(column)
    return known & (history.lr_share >= HARDLY_LEARNING) if name in rule.excused_at_low_lr else known


def _excused(history: RunHistory, finding: Finding, row: int, start: int) -> Finding:
    """Return a note for layers that stand still on purpose, by a learning rate of 0, or while the loss fell by half."""
    rule = RULES[finding.code]
    sites = [history.run.sites[site] for site in finding.sites]
    rates = history.learning_rates(row, {name for site in sites for name in site.parameters})
    if rule.excused_at_zero_lr and len(rates) and not rates.any():
        return replace(finding, severity=Severity.NOTE, message=f"{finding.message} Their learning rate is 0.")
    excused = holds_for(rule.excused_by_learning, finding)
    ends = _fell_by_half(history, float(history.steps[start])) if excused else None
    if ends is None:
        return finding
    text = f"{without_outcome(finding.message)} The loss fell from {size(ends[0])} to {size(ends[1])} all the same."
    return replace(finding, severity=Severity.NOTE, message=text)


def _fell_by_half(history: RunHistory, since: float) -> tuple[float, float] | None:
    """Return the loss at a step and at the end, medians of a few, if it fell by half since, under guessing."""
    steps, values = history.loss
    at = int(np.searchsorted(steps, since))
    if len(values) < FEWEST_LOSSES or at >= len(values) - FEWEST_LOSSES // 2:
        return None
    first, last = float(np.median(values[at : at + 3])), float(np.median(values[-max(len(values) // 10, 3) :]))
    return (first, last) if 0 <= last <= HALF * first and better_than_guessing(history, last) else None


def firing_interval(fired: NDArray[np.bool_], steps: NDArray[np.floating]) -> FiringInterval | None:
    """Return the interval to report: the last one, with those before it as long as the rule fired often on the whole.

    Example:
        >>> firing_interval(np.array([0, 1, 0, 0, 1, 1, 0, 1], bool), np.arange(8.0))
        FiringInterval(first=4, last=7, share=0.75)
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
    return FiringInterval(first, last, share) if fired[first : last + 1].sum() >= min(SHORTEST, len(fired)) else None


def _agreed(fired: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what two of three neighbours say; at an end, the first or last three."""
    if len(fired) < 3:
        return np.full(len(fired), bool(len(fired)) and bool(fired.all()))
    count = np.convolve(fired.astype(int), [1, 1, 1], "same")
    count[0], count[-1] = fired[:3].sum(), fired[-3:].sum()
    return np.asarray(count >= 2)


def _first(sampler: RuleSampler, key: Key, rows: Sequence[int], place: int, known: NDArray[np.bool_]) -> int:
    return rows[0] if place == 0 else _border(sampler, key, rows[place - 1], rows[place], known)


def _border(sampler: RuleSampler, key: Key, low: int, high: int, known: NDArray[np.bool_]) -> int:
    """Bisect for the row, after ``low`` and up to ``high``, from which on a rule says what it says at ``high``."""
    between = [row for row in range(low, high + 1) if known[row] and sampler.history.finite[row]]
    says = sampler.at(high, key) is not None
    a, b = 0, len(between) - 1
    while b - a > 1:
        middle = (a + b) // 2
        a, b = (a, middle) if (sampler.at(between[middle], key) is not None) == says else (middle, b)
    return between[b]
