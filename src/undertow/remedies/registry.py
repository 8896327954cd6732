"""Hold all remedies there are: one code, one function ``Training -> Training``, one docstring."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from undertow.diagnosis import Diagnosis
from undertow.plugins import Registry
from undertow.training import Training

SECTIONS = ("What it changes", "When", "Predicts", "References")
"""Every remedy's docstring has them, in this order."""


class Level(StrEnum):
    """Say what a person must agree to before a remedy is applied.

    Example:
        >>> print(Level.A.meaning)
        keeps the function that the model computes, and its checkpoint
    """

    A = "A"
    B = "B"
    C = "C"
    D = "D"

    @property
    def meaning(self) -> str:
        """In words."""
        return {
            "A": "keeps the function that the model computes, and its checkpoint",
            "B": "keeps the architecture and draws weights anew: only for a model that isn't trained yet",
            "C": "changes the architecture",
            "D": "changes what is learned: the loss, the targets or the output",
        }[self]


class Proposal(NamedTuple):
    """A remedy's settings for one case.

    Attributes:
        settings: keyword arguments of its function, JSON values.
        reason: why, in a sentence, with the number that speaks for it.
        urgency: how much speaks for it, 0 to 1; the highest is tried first.
        predicted: decades by which it should change the gradient from the loss to the front; nan if it doesn't act
            there, or nobody can tell.
    """

    settings: Mapping[str, Any]
    reason: str
    urgency: float
    predicted: float = math.nan


Apply = Callable[..., Training]
Propose = Callable[[Diagnosis], Iterable[Proposal]]
Lines = Callable[..., str]
LinesFor = Callable[..., str]


@dataclass(eq=False)
class Kind:
    """A kind of remedy, as its function and the decorators around it define it.

    Attributes:
        code: stable (``"UR101"``); ``undertow remedy CODE`` explains it.
        name: in a few words.
        level: what a person must agree to.
        answers: codes of the findings that it is a remedy for.
        apply: ``(training, **settings) -> training``; its docstring explains the remedy.
        propose: yields `Proposal` s for a diagnosis; none where it doesn't fit.
        lines: ``(**settings) -> str``, the same in plain PyTorch, for any model.
        lines_for: ``(training, **settings) -> str``, the same with the names of a training's own layers; None where
            ``lines`` are right for every model.
        by_hand: whether only a person can apply it, as it changes the loop or lines that no `Training` holds.
    """

    code: str
    name: str
    level: Level
    answers: tuple[str, ...]
    apply: Apply
    propose: Propose = field(default=lambda _: ())
    lines: Lines = field(default=lambda **_: "")
    lines_for: LinesFor | None = None
    by_hand: bool = False

    def proposes(self, propose: Propose) -> Propose:
        """Register the function that it decorates as the one that proposes this remedy."""
        self.propose = propose
        return propose

    def written(self, lines: Lines) -> Lines:
        """Register the function that it decorates as the one that writes this remedy as plain PyTorch."""
        self.lines = lines
        return lines

    def written_for(self, lines: LinesFor) -> LinesFor:
        """Register the function that it decorates as the one that writes it for one training's own model."""
        self.lines_for = lines
        return lines

    @property
    def explanation(self) -> str:
        """The docstring of its function."""
        return self.apply.__doc__ or ""


KINDS: Registry[Kind] = Registry("undertow.remedies")
"""By code; those of plugins among them."""


def remedy(
    code: str, name: str, level: str, answers: Iterable[str] = (), by_hand: bool = False
) -> Callable[[Apply], Kind]:
    """Register the function that it decorates under a code, which never changes its meaning.

    Raises:
        ValueError: another remedy has the code.
    """

    def register(apply: Apply) -> Kind:
        if known := KINDS.registered.get(code):
            raise ValueError(f"two remedies have the code {code}: {known.name} and {name}")
        KINDS[code] = kind = Kind(code, name, Level(level), tuple(answers), apply, by_hand=by_hand)
        return kind

    return register


@dataclass(frozen=True, eq=False)
class Remedy:
    """A remedy for one case: which kind, with which numbers, and why. Call it on a `Training` to apply it.

    Two are equal that do the same, whatever the reasons.

    Attributes:
        code: of its kind.
        settings: its numbers and places, JSON values.
        reason: why it is proposed, in a sentence.
        answers: codes of the findings of this case that it is a remedy for.
        urgency: how much speaks for it, 0 to 1.
        predicted: decades by which it should change the gradient from the loss to the front; nan if nobody can tell.
        lines: its snippet where that was made for one model; see `written_for`.
    """

    code: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    answers: tuple[str, ...] = ()
    urgency: float = 0.0
    predicted: float = math.nan
    lines: str = ""

    def __call__(self, training: Training) -> Training:
        """Return the training with this remedy; the one that is given stays as it is."""
        return self.kind.apply(training, **self.settings)

    @property
    def kind(self) -> Kind:
        """Return the remedy that it is one of."""
        return KINDS[self.code]

    @property
    def name(self) -> str:
        """In a few words, with its numbers."""
        told = ", ".join(f"{key} {_short(value)}" for key, value in self.settings.items() if not _long(value))
        return f"{self.kind.name} ({told})" if told else self.kind.name

    @property
    def level(self) -> Level:
        """Return what a person must agree to."""
        return self.kind.level

    @property
    def snippet(self) -> str:
        """Return the same in plain PyTorch, to paste behind the lines that make ``model`` and ``optimizer``."""
        return self.lines or self.kind.lines(**self.settings)

    def written_for(self, training: Training) -> "Remedy":
        """Return the same remedy with a snippet that names the layers of a training's model.

        Args:
            training: as it is before this remedy.
        """
        if self.kind.lines_for is None:
            return self
        return replace(self, lines=self.kind.lines_for(training, **self.settings))

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Remedy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return f"{self.code} {self.name}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `from_dict` reads them."""
        known = {"code": self.code, "settings": dict(self.settings), "reason": self.reason}
        predicted = None if math.isnan(self.predicted) else self.predicted
        rest = {"answers": list(self.answers), "urgency": self.urgency, "predicted": predicted}
        return {**known, **rest, **({"lines": self.lines} if self.lines else {})}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Remedy":
        """Return the inverse of `to_dict`.

        Raises:
            KeyError: no remedy has that code.
        """
        predicted = math.nan if data.get("predicted") is None else float(data["predicted"])
        rest = {name: data[name] for name in ("code", "settings", "reason", "urgency", "lines") if name in data}
        if data["code"] not in KINDS:
            raise KeyError(f"no remedy has the code {data['code']!r}; there are: {', '.join(sorted(KINDS))}")
        return cls(**rest, answers=tuple(data.get("answers", ())), predicted=predicted)

    @property
    def key(self) -> str:
        """Its code and settings as text: equal for remedies that do the same."""
        return json.dumps([self.code, dict(self.settings)], sort_keys=True)


def proposals(diagnosis: Diagnosis) -> Iterator[Remedy]:
    """Yield what every kind proposes for a diagnosis, in the order of the codes."""
    found = {finding.code for finding in diagnosis.findings}
    for kind in sorted(KINDS.values(), key=lambda each: each.code):
        answers = tuple(code for code in kind.answers if code in found)
        for each in kind.propose(diagnosis):
            yield Remedy(kind.code, each.settings, each.reason, answers, each.urgency, each.predicted)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _long(value: Any) -> bool:
    return isinstance(value, list | tuple | dict) or (isinstance(value, str) and len(value) > 24)
