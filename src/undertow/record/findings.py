"""Conclusions from a run: gains by cause, and the findings of rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from textwrap import indent
from typing import Any, Self
from warnings import warn

import numpy as np

from undertow.jsonable import jsonable
from undertow.printable import printable
from undertow.record.checking import FINDING, checked


@dataclass(frozen=True)
class BackwardGain:
    """The gradient's gain between two Sites, split by cause. Derived from a `Run`, never stored.

    Attributes:
        start, end: Sites; the gradient goes from ``start`` to ``end``.
        gain: norm of the gradient at ``end`` / at ``start``.
        factors: by cause; they multiply to ``gain``. ``"unattributed"`` is always among them.
        shares: for every branch that arrives at ``end``, its edge and its share of the gradient there.
        main: Sites along the branch with the largest share, ``start`` and ``end`` included.

    Example:
        >>> gain = BackwardGain(0, 2, 0.2, {"activation": 0.19, "weights": 1.05, "unattributed": 1.0025})
        >>> gain.cause
        'activation'
    """

    start: int
    end: int
    gain: float
    factors: Mapping[str, float]
    shares: Mapping[int, float] = field(default_factory=dict)
    main: tuple[int, ...] = ()

    @property
    def decades(self) -> float:
        """log10 of the gain: -1 is a gradient a tenth as large."""
        return _decades(self.gain)

    @property
    def cause(self) -> str:
        """The factor farthest from 1 on the gain's own side; with a gain of 1, the one farthest on either."""
        sign = np.sign(self.decades) or 1.0
        return max(self.factors, key=lambda name: sign * _decades(self.factors[name]))

    def __repr__(self) -> str:
        return f"<BackwardGain {self.start} -> {self.end}: x {self.gain:.3g}, mostly {self.cause}>"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {key: jsonable(value, infinite=True) for key, value in vars(self).items()}


_IN_FILES = {"from_start": "born"}
_FROM_FILES = {"born": "from_start"}
_IN_NO_FILE = frozenset({"starts_again"})


class Severity(StrEnum):
    """Say how much a finding matters: a note is no fault."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """For comparing: note 0, warning 1, error 2."""
        return list(Severity).index(self)

    @property
    def meaning(self) -> str:
        """Say what it comes to for the training, for people who don't know our words.

        Example:
            >>> Severity.ERROR.meaning
            "it can't learn as it stands"
        """
        return _MEANINGS[self]


_MEANINGS = {
    Severity.ERROR: "it can't learn as it stands",
    Severity.WARNING: "mended, it learns markedly better",
    Severity.NOTE: "it trains all the same",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a rule found in a run.

    Attributes:
        code: stable (``"UT101"``); ``undertow rule CODE`` explains it.
        name: in two or three words.
        severity: note, warning or error.
        sites: where, as places in ``run.sites``.
        where: the same for people: module paths.
        message: one sentence, with the numbers that matter.
        evidence: the numbers, by name.
        threshold: what they are held against, and where that comes from.
        equation: what lies behind it.
        confidence: share of the repeats, or of the steps from ``began`` to ``ended``, in which the rule fired, 0 to 1.
        began: in a run over time, the optimizer's step from which on it is so; None where nobody looked through time.
        from_start: whether that is the first step there is: it didn't develop.
        ended: the step from which on it is so no more; None while it lasts.
        source: the user's ``file:line`` that called the operation at the first of the Sites, where it is known.
        advice: what to do about it in this model, in a sentence or two; empty where nothing is to be done.
        snippet: the same as lines of plain PyTorch, with the names of this model's layers, that run as they are.
        follows_from: code of the finding that explains this one, where both were made; empty otherwise.
        starts_again: whether the advice says to begin anew; for the rules alone, and in no file.

    Example:
        >>> found = Finding("UT101", "vanishing", Severity.ERROR, (), "fc1", "It fades.", began=50)
        >>> print(found)
        UT101 error: from step 50: It fades. [fc1]
        >>> found.to_dict()["severity"], found
        ('error', <UT101 error: vanishing, at fc1>)
        >>> from dataclasses import replace
        >>> print(replace(found, advice="Use He initialisation:", snippet="nn.init.kaiming_normal_(model.fc1.weight)"))
        UT101 error: from step 50: It fades. [fc1]
        Use He initialisation:
            nn.init.kaiming_normal_(model.fc1.weight)
        more: undertow rule UT101
    """

    code: str
    name: str
    severity: Severity
    sites: tuple[int, ...]
    where: str
    message: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    threshold: str = ""
    equation: str = ""
    confidence: float = 1.0
    began: int | None = None
    from_start: bool = False
    ended: int | None = None
    source: str = ""
    advice: str = ""
    snippet: str = ""
    follows_from: str = ""
    starts_again: bool = field(default=False, repr=False, compare=False)

    def __str__(self) -> str:
        places = ", ".join(filter(None, (self.where, self.source)))
        first = printable(f"{self.code} {self.severity}: {self.span}{self.message}{f' [{places}]' if places else ''}")
        if not self.advice and not self.snippet:
            return first
        code = printable(indent(self.snippet, "    ").rstrip("\n"), lines=True)
        return "\n".join(filter(None, (first, printable(self.advice), code, f"more: undertow rule {self.code}")))

    def __repr__(self) -> str:
        return f"<{self.code} {self.severity}: {self.name}{f', at {self.where}' if self.where else ''}>"

    @property
    def span(self) -> str:
        """Since which step it is so, and until when, as the beginning of a sentence; empty where that isn't known."""
        if self.began is None:
            seen = self.evidence.get("at step")
            return "" if seen is None else f"at step {seen:,.0f}: "
        start = f"from the start (step {self.began:,})" if self.from_start else f"from step {self.began:,}"
        return f"{start}{'' if self.ended is None else f' to step {self.ended:,}'}: "

    @property
    def born(self) -> bool:
        """The old name of `from_start`."""
        warn("Finding.born is called Finding.from_start now", DeprecationWarning, stacklevel=2)
        return self.from_start

    def to_dict(self) -> dict[str, Any]:
        """As JSON values. Files say ``born`` of what is called `from_start` here, as they always did."""
        kept = {key: value for key, value in vars(self).items() if key not in _IN_NO_FILE}
        return {_IN_FILES.get(key, key): jsonable(value, infinite=True) for key, value in kept.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ValueError, KeyError, TypeError: this is no finding.
        """
        checked(data, FINDING, "a finding")
        evidence = {name: np.nan if value is None else float(value) for name, value in data["evidence"].items()}
        given: dict[str, Any] = {
            "severity": Severity(data["severity"]),
            "sites": tuple(data["sites"]),
            "evidence": evidence,
        }
        if (sure := data.get("confidence")) is not None:
            given["confidence"] = float(sure)
        known = {_FROM_FILES.get(key, key): value for key, value in data.items()}
        return cls(**{**known, **given})


def folded(findings: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Put findings that follow from another beneath it.

    Args:
        findings: the worst first, a cause before what it explains.

    Returns:
        Every finding that nothing else explains, with those that follow from it. A chain of causes is folded beneath
        its beginning.

    Example:
        >>> cause = Finding("UT410", "step not finite", Severity.ERROR, (), "", "")
        >>> late = Finding("UT103", "not finite", Severity.ERROR, (), "", "", follows_from="UT410")
        >>> [(first.code, [each.code for each in rest]) for first, rest in folded([cause, late])]
        [('UT410', ['UT103'])]
    """
    by_code = {each.code: each for each in reversed(findings)}
    heads: dict[int, tuple[Finding, list[Finding]]] = {}
    for finding in findings:
        head, seen = finding, {finding.code}
        while head.follows_from in by_code and head.follows_from not in seen:
            seen.add(head.follows_from)
            head = by_code[head.follows_from]
        if head is finding:
            heads.setdefault(id(finding), (finding, []))
        else:
            heads.setdefault(id(head), (head, []))[1].append(finding)
    return list(heads.values())


def _decades(gain: float) -> float:
    if np.isnan(gain):
        return float("nan")
    return float(np.log10(gain)) if gain > 0 else float("-inf")
