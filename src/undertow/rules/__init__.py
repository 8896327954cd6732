"""One rule, one code, one function, one docstring. Rules read Runs, never a live model.

The modules named ``ut`` and a digit hold the rules, a family each; they are found, not listed.
"""

from typing import Any
from warnings import warn

from undertow.analysis.timeline import RunHistory
from undertow.rules.judging import diagnose, judge, over_time, urgent
from undertow.rules.registry import RULES, RUN, STEP, Blocks, Over, Rule, discover, rule

__all__ = [
    "RULES",
    "RUN",
    "STEP",
    "Blocks",
    "Over",
    "Rule",
    "RunHistory",
    "diagnose",
    "discover",
    "judge",
    "over_time",
    "rule",
    "urgent",
]

discover(__name__)


def __getattr__(name: str) -> Any:
    if name == "History":
        warn("undertow.rules.History is called RunHistory now", DeprecationWarning, stacklevel=2)
        return RunHistory
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
