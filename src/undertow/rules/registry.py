"""What a rule is, and all there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from undertow.record import Finding
from undertow.rules.evidence import Evidence

Judge = Callable[[Evidence], Iterator[Finding]]

SECTIONS = ("What", "Why it is bad", "Evidence", "Threshold", "What to do", "References")
"""Every rule's docstring has them, in this order."""


@dataclass(frozen=True)
class Rule:
    """A code, a name of a few words, and the function that judges; its docstring explains the rule."""

    code: str
    name: str
    judge: Judge

    @property
    def explanation(self) -> str:
        """The rule's docstring."""
        return self.judge.__doc__ or ""


RULES: dict[str, Rule] = {}
"""By code."""


def rule(code: str, name: str) -> Callable[[Judge], Judge]:
    """Register the function it decorates under a code, which never changes its meaning."""

    def register(judge: Judge) -> Judge:
        if code in RULES:
            raise ValueError(f"two rules have the code {code}: {RULES[code].name} and {name}")
        RULES[code] = Rule(code, name, judge)
        return judge

    return register
