"""What a rule is, and all there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.record import Finding
from undertow.rules.history import History

Judge = Callable[[Diagnosis], Iterator[Finding]]
JudgeOfTime = Callable[[History], Iterator[Finding]]

SECTIONS = ("What", "Why it is bad", "Evidence", "Threshold", "What to do", "References")
"""Every rule's docstring has them, in this order."""


@dataclass(frozen=True)
class Rule:
    """A code, a name of a few words, and the function that judges; its docstring explains the rule.

    Attributes:
        over_time: it takes a whole run (a `History`) and not one step of it (a `Diagnosis`).
    """

    code: str
    name: str
    judge: Callable[[Any], Iterator[Finding]]
    over_time: bool = False

    @property
    def explanation(self) -> str:
        """The rule's docstring."""
        return self.judge.__doc__ or ""


RULES: dict[str, Rule] = {}
"""By code."""


def rule(code: str, name: str) -> Callable[[Judge], Judge]:
    """Register the function it decorates under a code, which never changes its meaning."""

    def register(judge: Judge) -> Judge:
        _register(Rule(code, name, judge))
        return judge

    return register


def rule_over_time(code: str, name: str) -> Callable[[JudgeOfTime], JudgeOfTime]:
    """The same for a rule that needs to see a run through time."""

    def register(judge: JudgeOfTime) -> JudgeOfTime:
        _register(Rule(code, name, judge, over_time=True))
        return judge

    return register


def _register(new: Rule) -> None:
    if new.code in RULES:
        raise ValueError(f"two rules have the code {new.code}: {RULES[new.code].name} and {new.name}")
    RULES[new.code] = new
