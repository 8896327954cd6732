"""Tell what became of networks with this much of a fault: outcomes of the study ``severity``, and severities by them.

The study trains small networks of many kinds beside twins whose scale is mended, at the same optimizer and learning
rate, and counts by amount: how many learned within the budget, and how many of their twins needed at most half the
steps. ``consequences.json`` is its table. A finding is

- an *error* where at least 80 % of the networks like it did not learn within the budget;
- a *warning* where at least 80 % of the twins needed at most half the steps: under both kinds of optimizer together and
  under the one at hand, as a start that only one of them minds is no fault by itself;
- a *note* otherwise: measurable, and trains all the same.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from undertow.record import Run, Severity
from undertow.wording import amount

MOST = 0.8
"""Share of the networks in a row that makes the rule."""

FEWEST_NETWORKS = 10
"""Networks that a row must stand on."""

ANY = "any"
PLAIN, ADAPTIVE = "plain", "adaptive"
"""Optimizers whose step is proportional to the gradient's size, and those whose step hardly depends on it."""

_PLAIN_NAMES = frozenset({"SGD", "ASGD"})
_ADAPTIVE_NAMES = frozenset(
    {"Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SparseAdam", "RMSprop", "Rprop", "Adagrad", "Adadelta", "Adafactor"}
)


@dataclass(frozen=True)
class Outcome:
    """One row of the table: networks with an amount of a fault between two bounds.

    Attributes:
        code: the rule's.
        kind: of the fault where the rule tells several (``"activation"``, ``"weights"``), else ``"any"``.
        optimizer: ``"plain"``, ``"adaptive"``, or ``"any"`` for both together.
        low, high: the amount is at least ``low`` and under ``high``.
        networks: trained networks like this whose twin, or they themselves, learned within the budget.
        learned: how many of them did themselves.
        twice: how many of their twins needed at most half the steps.
        speedup: the median of steps over the twin's steps, the budget standing for those that did not learn.
    """

    code: str
    kind: str
    optimizer: str
    low: float
    high: float
    networks: int
    learned: int
    twice: int
    speedup: float

    def __str__(self) -> str:
        share = f"{round(100 * self.learned / self.networks)} %" if self.learned else "none"
        # The budget stands for the steps of those that didn't learn, so that it may have been faster than this.
        mended = f"; with this mended, a typical one learned at least {amount(self.speedup)} times as fast"
        if not self.learned:
            mended = (
                f"; with this mended, a typical one did, in {100 / self.speedup:.0f} % of the steps these were given"
            )
        return f"Of {self.networks} networks like this {share} learned{mended if self.speedup >= 1.25 else ''}."


_OUTCOME = re.compile(r" Of \d+ networks like this (?:[^.]|\.(?=\d))*\.")


def without_outcome(message: str) -> str:
    """Return a message without what became of networks like this: of one that did otherwise it says nothing.

    Example:
        >>> row = Outcome("UT301", "any", "any", -9.0, -8.0, 30, 0, 30, 6.5)
        >>> without_outcome(f"It fades. {row} It fell."), without_outcome("It fades.")
        ('It fades. It fell.', 'It fades.')
    """
    return _OUTCOME.sub("", message)


def severity_of(code: str, amount: float, run: Run, kind: str = ANY) -> tuple[Severity, str]:
    """Look up how much a finding matters, and a sentence that says what became of networks like it.

    Args:
        code: the rule's.
        amount: what the table is ordered by: decades, or a share.
        run: whose header names the optimizer.
        kind: of the fault.

    Returns:
        The severity, and the sentence with a space before it, to be added to a message; a note and no sentence where
        the study has no networks like this.

    Example:
        >>> severity, sentence = severity_of("UT101", -9.0, Run({"optimizer": "SGD"}, ()), "activation")
        >>> severity.value, " networks like this " in sentence
        ('error', True)
    """
    together = outcome(code, amount, kind, ANY)
    if together is None:
        return Severity.NOTE, ""
    own = outcome(code, amount, kind, optimizer_kind(run)) or together
    if own.networks - own.learned >= MOST * own.networks:
        return Severity.ERROR, f" {own}"
    helped = all(each.twice >= MOST * each.networks for each in (own, together))
    return Severity.WARNING if helped else Severity.NOTE, f" {own}"


def outcome(code: str, amount: float, kind: str = ANY, optimizer: str = ANY) -> Outcome | None:
    """Find the row of an amount; of several kinds together where there is none of this kind, and None without any.

    An amount beyond all rows, or between two, belongs to the nearest.
    """
    for one in dict.fromkeys((kind, ANY)):
        rows = _rows().get((code, one, optimizer))
        if rows:
            return min(rows, key=lambda row: max(row.low - amount, amount - row.high, 0.0))
    return None


def optimizer_kind(run: Run) -> str:
    """Tell plain from adaptive optimizers by the name in a Run's header; "any" where there is none, or both.

    Example:
        >>> optimizer_kind(Run({"optimizer": "AdamW"}, ())), optimizer_kind(Run({}, ()))
        ('adaptive', 'any')
    """
    named = {name.strip() for name in str(run.header.get("optimizer", "")).split(",")}
    if named <= _PLAIN_NAMES:
        return PLAIN
    return ADAPTIVE if named <= _ADAPTIVE_NAMES else ANY


@cache
def _rows() -> Mapping[tuple[str, str, str], Sequence[Outcome]]:
    """Sort the table by code, kind and optimizer."""
    found: dict[tuple[str, str, str], list[Outcome]] = {}
    for row in table():
        found.setdefault((row.code, row.kind, row.optimizer), []).append(row)
    return found


@cache
def table() -> Sequence[Outcome]:
    """Read the study's table, without rows of too few networks."""
    text = resources.files("undertow.rules").joinpath("consequences.json").read_text("utf-8")
    rows = (Outcome(**row) for row in json.loads(text)["rows"])
    return tuple(row for row in rows if row.networks >= FEWEST_NETWORKS)
