"""Compare two diagnoses: what became of each layer's backward gain, and which findings came and went."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from undertow.diagnosis import Diagnosis
from undertow.record import Finding
from undertow.render.segments import Segment, segments


@dataclass(frozen=True)
class Pair:
    """Gains of one layer or join in both diagnoses; None where the other one has no Site of that name.

    Attributes:
        name: of the Site, numbered from its second call on.
        before, after: from there to the next layer or join.
    """

    name: str
    before: Segment | None
    after: Segment | None

    @property
    def change(self) -> float:
        """Decades by which the gain is larger in the second report; nan if it isn't in both, or not a number."""
        if self.before is None or self.after is None:
            return math.nan
        gains = self.before.gain, self.after.gain
        return math.log10(gains[1] / gains[0]) if all(0 < gain < math.inf for gain in gains) else math.nan

    @property
    def cause(self) -> str:
        """The cause whose factor changed most in the direction of the change; empty where there is no change."""
        if self.before is None or self.after is None or not self.change:
            return ""
        old, new = self.before.decades, self.after.decades
        sign = math.copysign(1.0, self.change)
        return max({**old, **new}, key=lambda cause: sign * (new.get(cause, 0.0) - old.get(cause, 0.0)), default="")


@dataclass(frozen=True)
class Difference:
    """The differences of a second report from a first.

    Attributes:
        pairs: every layer and join of either gradient path, in the first one's order, then the second one's own.
        gone: findings that only the first has (compared by code and place; in runs over time by code and name, as the
            worst place may be another one at each step).
        new: findings that only the second has.
        kept: findings of the second that the first has, too.
    """

    pairs: tuple[Pair, ...]
    gone: tuple[Finding, ...]
    new: tuple[Finding, ...]
    kept: tuple[Finding, ...]


def difference(before: Diagnosis, after: Diagnosis) -> Difference:
    """Match two diagnoses: Sites by name, findings by code and place.

    Example:
        >>> from undertow.record import Run
        >>> empty = Diagnosis(Run({}, ()))
        >>> difference(empty, empty)
        Difference(pairs=(), gone=(), new=(), kept=())
    """
    old, new = ({segment.label: segment for segment in segments(each, most=None)} for each in (before, after))
    pairs = tuple(Pair(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new]))
    places = _places(before.findings), _places(after.findings)
    return Difference(
        pairs,
        gone=tuple(f for f in before.findings if _place(f) not in places[1]),
        new=tuple(f for f in after.findings if _place(f) not in places[0]),
        kept=tuple(f for f in after.findings if _place(f) in places[0]),
    )


def _places(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    return set(map(_place, findings))


def _place(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.where if finding.began is None else finding.name
