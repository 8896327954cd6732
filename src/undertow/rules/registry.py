"""Say what a rule is, how one is registered, and how the modules that hold rules are found."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypedDict, TypeVar, Unpack

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.plugins import Registry
from undertow.record import Finding, Run

JudgeStep = Callable[[Diagnosis], Iterator[Finding]]
JudgeRun = Callable[[RunHistory], Iterator[Finding]]
Judge = TypeVar("Judge", bound=Callable[..., Iterator[Finding]])

SECTIONS = ("What", "Why it is bad", "Evidence", "Threshold", "What to do", "References")
"""Every rule's docstring has them, in this order."""

_MODULE = re.compile(r"ut\d\w*")
_CODE = re.compile(r"[A-Z]{2,8}\d\d\d")


class Over(StrEnum):
    """Say what a rule's function takes: one recorded step, as a `Diagnosis`, or a whole run, as a `RunHistory`."""

    STEP = "step"
    RUN = "run"


STEP, RUN = Over.STEP, Over.RUN


class Blocks(StrEnum):
    """Say whether a finding, unless it is a note, keeps a run from being called converged.

    ``BEFORE`` holds for one that began before the loss stood still and has not ended, ``EVER`` whenever it began.
    """

    NEVER = "never"
    BEFORE = "before"
    EVER = "ever"


class Facts(TypedDict, total=False):
    """List what a decorator may say of a rule beside its code and name; see `Rule`."""

    columns: tuple[str, ...]
    sparse_columns: tuple[str, ...]
    header: tuple[str, ...]
    first_step_only: bool
    once_per_run: bool
    urgent: bool
    by_cause: bool
    blocks_converged: Blocks
    declares_convergence: bool
    weighs_others: bool
    explains: tuple[str, ...]
    explains_by: tuple[str, ...]
    acts_by_steps: bool
    excused_by_convergence: bool
    excused_at_zero_lr: bool
    excused_by_learning: bool | tuple[str, ...]
    excused_at_low_lr: tuple[str, ...]
    spoils_weights: bool | tuple[str, ...]
    doubtful: bool | tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A code, a name of a few words, the function that judges, and everything that others need to know of the rule.

    Attributes:
        code: letters, ``UT`` in undertow's own, and three digits, the first of which is the family's; it never changes
            its meaning.
        judge: judges one recorded step; None for a rule that needs the whole run.
        judge_run: judges a whole run. Where a rule has both, this one takes the place of ``judge`` in `over_time`;
            of one that weighs others, both judge.
        columns: columns of Sites without which there is nothing to judge.
        sparse_columns: the same for columns that not every full step measures: where they are missing, the rule's
            silence means nothing.
        header: facts of the Run's header without which there is nothing to judge.
        first_step_only: judged at the first recorded step of a run and at no other.
        once_per_run: reported once, however many graphs the model ran through.
        urgent: a watcher reports it as soon as it happens and not only at a full step, after which there may be none.
        by_cause: the finding is about the gradient's scale along the path; reports add its decades by cause.
        blocks_converged: whether it keeps a run from being called converged.
        declares_convergence: judged after all others, with their findings in ``RunHistory.findings``; what it yields
            says since when the run has converged.
        weighs_others: judged after those that do without, with the faults they found in ``RunHistory.findings``.
        explains: codes of what it is the cause of, where both are found: it is told first, and weighs as much. A code
            with a finding's name behind it ("UT401 update too small") stands for findings of that name alone.
        explains_by: names of the findings that ``explains`` holds for; all if there is none.
        acts_by_steps: what it explains comes of the steps that are taken, and was not there before the first.
        excused_by_convergence: a note if it begins when the run has converged.
        excused_at_zero_lr: a note where all its parameters have a learning rate of 0.
        excused_by_learning: a note where the loss fell by half, or more, since it began; or the names of findings of
            which that is so.
        excused_at_low_lr: names of findings that aren't judged where the learning rate is about to end the training.
        spoils_weights: the weights are lost by it, or far from where training can go on; or the names of findings of
            which that is so.
        doubtful: a note of it may be a fault, which one pass can't tell: where there is no fault, the verdict names
            it; or the names of findings of which that is so.

    Example:
        >>> from undertow.rules import RULES
        >>> RULES["UT104"].sparse_columns, RULES["UT104"].over
        (('progress',), <Over.STEP: 'step'>)
    """

    code: str
    name: str
    judge: JudgeStep | None = None
    judge_run: JudgeRun | None = None
    columns: tuple[str, ...] = ()
    sparse_columns: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    first_step_only: bool = False
    once_per_run: bool = False
    urgent: bool = False
    by_cause: bool = False
    blocks_converged: Blocks = Blocks.NEVER
    declares_convergence: bool = False
    weighs_others: bool = False
    explains: tuple[str, ...] = ()
    explains_by: tuple[str, ...] = ()
    acts_by_steps: bool = False
    excused_by_convergence: bool = False
    excused_at_zero_lr: bool = False
    excused_by_learning: bool | tuple[str, ...] = False
    excused_at_low_lr: tuple[str, ...] = ()
    spoils_weights: bool | tuple[str, ...] = False
    doubtful: bool | tuple[str, ...] = False

    @property
    def judges_steps(self) -> bool:
        """Tell whether its function for steps judges those of a run, too."""
        return self.judge is not None and (self.judge_run is None or self.weighs_others)

    @property
    def over(self) -> Over:
        """Return what it judges first of all: a step if it can, else a run."""
        return RUN if self.judge is None else STEP

    @property
    def explanation(self) -> str:
        """The rule's docstring; of two functions, that of the one that judges a step."""
        return (self.judge or self.judge_run).__doc__ or ""

    def applies_to(self, run: Run) -> bool:
        """Return whether a Run has the header facts and columns that the rule can't do without."""
        needed = (*self.columns, *self.sparse_columns)
        return all(map(run.header.__contains__, self.header)) and all(map(run.columns.__contains__, needed))


def holds_for(fact: bool | tuple[str, ...], finding: Finding) -> bool:
    """Tell whether what a decorator says of a rule's findings, of all or of those with some names, holds for one.

    Example:
        >>> from undertow.record import Severity
        >>> short = Finding("UT401", "update too small", Severity.WARNING, (), "", "")
        >>> holds_for(True, short), holds_for(("update too large",), short)
        (True, False)
    """
    return finding.name in fact if isinstance(fact, tuple) else fact


RULES: Registry[Rule] = Registry("undertow.rules")
"""By code; those of plugins among them."""


def rule(code: str, name: str, *, over: Over = STEP, **facts: Unpack[Facts]) -> Callable[[Judge], Judge]:
    """Register the function it decorates under a code.

    A code may have two functions, one for a step and one for a run: the second is decorated with the same code and
    name, and without facts.

    Args:
        code: letters and three digits. ``UT`` is for undertow's own; a plugin's rules have letters of its own.
        name: in two or three words.
        over: whether the function takes a step (`Diagnosis`) or a run (`RunHistory`).
        facts: what else is to be known of the rule, by the attributes of `Rule`.

    Raises:
        ValueError: the code is taken, or is none.

    Example:
        >>> rule("UT1", "too short")
        Traceback (most recent call last):
        ValueError: 'UT1' is no code of a rule: write letters and three digits, as in UT101
    """
    if not _CODE.fullmatch(code):
        raise ValueError(f"{code!r} is no code of a rule: write letters and three digits, as in UT101")

    def register(judge: Judge) -> Judge:
        field: Any = {"judge" if over is STEP else "judge_run": judge}
        new = Rule(code, name, **field, **facts)
        known = RULES.registered.get(code)
        RULES[code] = _joined(known, new) if known else new
        return judge

    return register


def _joined(known: Rule, new: Rule) -> Rule:
    """Return one rule of the two functions of a code: the second brings its function and nothing else."""
    bare = Rule(known.code, known.name, new.judge, new.judge_run)
    if new != bare or known.over is new.over or (known.judge and known.judge_run):
        raise ValueError(f"two rules have the code {known.code}: {known.name} and {new.name}")
    return replace(known, judge=known.judge or new.judge, judge_run=known.judge_run or new.judge_run)


def discover(package: str) -> list[str]:
    """Import the modules of a package that hold rules, which registers them.

    Args:
        package: its dotted name. Modules count whose name begins with ``ut`` and the digit of a family.

    Returns:
        The modules' dotted names, sorted.

    Example:
        >>> discover("undertow.rules")[0]
        'undertow.rules.ut1_collapse'
    """
    found = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    names = sorted(each.name for each in found if _MODULE.fullmatch(each.name.rpartition(".")[2]))
    for name in names:
        importlib.import_module(name)
    return names
