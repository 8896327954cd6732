"""`OnlineChecker` asks the rules of `examine` about full steps while it trains, as often as there is time for.

`FindingReporter` writes what they find into the Run.
"""

import importlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from undertow import rules
from undertow.record import Event, Finding, Run, Severity
from undertow.rules.judging import in_order
from undertow.watching.run_writer import RunWriter
from undertow.watching.step_payload import StepColumns
from undertow.watching.step_time import StepTime

OnFinding = Callable[[Finding], object]

OF_A_STEP = {"loss": 0.0, "lr": 0.0, "scale": 1.0}
"""What rules want to know of the step, and what it is where nobody knows."""

FIRST = 0.2
"""Seconds that checking takes the first time: much is loaded for it."""


@dataclass
class FindingListener:
    """Tells the user of findings, and remembers the one to stop for.

    Args:
        on_finding: the user's function, called with every new finding, on the writer's thread.
        stop_on: codes of findings, or severities, after which training should stop.

    Attributes:
        stopping: the finding to stop for, None as long as there is none.
        failure: what went wrong in ``on_finding``; it isn't called again.
    """

    on_finding: OnFinding | None = None
    stop_on: Collection[str] = ()
    stopping: Finding | None = None
    failure: Exception | None = None

    @property
    def waits(self) -> bool:
        """Tell whether anybody waits for findings."""
        return self.on_finding is not None or bool(self.stop_on)

    def tell(self, finding: Finding) -> None:
        """Tell of a finding, and then that it is one to stop for: whoever stops has heard of it."""
        if self.on_finding is not None and self.failure is None:
            try:
                self.on_finding(finding)
            except Exception as error:  # it is the user's, and training goes on
                self.failure = error
        if self.stopping is None and (finding.code in self.stop_on or str(finding.severity) in self.stop_on):
            self.stopping = finding


@dataclass
class OnlineChecker:
    """Checks full steps by the rules, and tells of every new finding.

    Args:
        share: of the time that may go into checking.
        listener: called with findings.
        header: what rules want to know of the model and the optimizer.
    """

    share: float
    listener: FindingListener = field(default_factory=FindingListener)
    header: Mapping[str, Any] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _known: set[tuple[str, str]] = field(default_factory=set)
    _not_before: float = 0.0
    _waiting: tuple[int, StepColumns, Mapping[str, float]] | None = None
    _told: list[Finding] = field(default_factory=list)
    _first: int | None = None
    _places: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.listener.waits:
            self._not_before = self.clock() + FIRST / self.share
        else:
            importlib.import_module("undertow.theory")  # a rule needs it: better now than during training

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Add to what rules may ask the header for."""
        self.header = {**self.header, **facts}

    def check(self, step: int, columns: StepColumns, values: Mapping[str, float]) -> list[tuple[Finding, str]]:
        """Check one full step, if it is time; return new findings, each with what to say."""
        if values.get("skipped") or values.get("nonfinite"):  # a scaler's ordinary work; or told when it happened
            return []
        self._first = step if self._first is None else self._first
        if self.clock() < self._not_before:
            self._waiting = (step, columns, values) if self.listener.waits else None
            return []
        return self._checked(step, columns, values)

    def finish(self) -> list[tuple[Finding, str]]:
        """Check the last full step, if somebody waits for findings and there was no time for it yet."""
        return [] if self._waiting is None else self._checked(*self._waiting)  # none where nobody waits

    def _checked(self, step: int, columns: StepColumns, values: Mapping[str, float]) -> list[tuple[Finding, str]]:
        begun, self._waiting = self.clock(), None
        run = self._run(step, columns, values)
        found = rules.judge([run])
        # What is urgent was told when it happened, and isn't again at every full step that follows.
        found = [each for each in found if self._is_of(step, rules.RULES[each.code]) and self._is_new(each, run)]
        found = self._explained(found, step)
        new = [replace(each, evidence={**each.evidence, "at step": float(step)}) for each in found]
        taken = self.clock() - begun
        self._not_before = begun + taken / self.share
        for finding in new:
            self.listener.tell(finding)
        return [(finding, f"{finding.code} {finding.name}, seen at step {step}: {finding.message}") for finding in new]

    def lost(self, event: Event, columns: StepColumns | None, values: Mapping[str, float]) -> None:
        """Tell that numbers ceased to be finite; ``columns``: of that very step, if it was a full one."""
        run = Run(dict(self.header), ())
        if columns is not None and columns.graph.sites:
            run = self._run(event.step, columns, values)
        after = event.data["after"]  # the last step that was finite: -1 if none was
        seen = {"step": np.array([float(after if after >= 0 else event.step)])}
        run = replace(run, events=(event,), scalars=seen, steps={"step": np.full(len(run), float(event.step))})
        for finding in self._explained(rules.urgent(run), event.step):
            self.listener.tell(finding)

    def _explained(self, found: Sequence[Finding], step: int) -> list[Finding]:
        """Return findings that say of which of those told before they follow; each began when it was first seen."""
        seen = [
            replace(each, began=step if each.began is None else each.began, from_start=step == self._first)
            for each in found
        ]
        causes = {(each.code, each.where): each.follows_from for each in in_order([*self._told, *seen])}
        self._told += seen
        return [replace(each, follows_from=causes[each.code, each.where]) for each in found]

    def _is_of(self, step: int, rule: rules.Rule) -> bool:
        """Tell whether a rule is to be heard at a step; what is about the start is no matter of later ones."""
        return not rule.urgent and (step == self._first or not rule.first_step_only)

    def _is_new(self, finding: Finding, run: Run) -> bool:
        """Tell whether a finding is new; it isn't where another layer has become the worst of the same ones."""
        key, known = (finding.code, finding.where), self._places.setdefault((finding.code, finding.name), set())
        places = {run.sites[site].name for site in finding.sites}
        new = key not in self._known and not known & places
        self._known.add(key)
        known |= places
        return new

    def _run(self, step: int, columns: StepColumns, values: Mapping[str, float]) -> Run:
        """Make a Run of one step."""
        measured, graph = columns.measured, columns.graph
        return Run(
            {**self.header, **{name: values.get(name, usual) for name, usual in OF_A_STEP.items()}},
            graph.sites,
            graph.edges,
            {name: column[None] for name, column in measured.by_site.items()},
            {name: column[None] for name, column in measured.by_edge.items()},
            steps={"step": np.array([float(step)])},
        )


def check_stop(stop_on: Collection[str]) -> None:
    """Raise ValueError unless all are codes of rules or severities, TypeError for a single text."""
    if isinstance(stop_on, str):
        raise TypeError(f"stop_on is the text {stop_on!r}: write a list, as in stop_on=[{stop_on!r}]")
    known = {*rules.RULES, *map(str, Severity)}
    for each in stop_on:
        if each not in known:
            raise ValueError(f"stop_on has {each!r}, which is neither a rule's code nor one of: {', '.join(Severity)}")


class FindingReporter:
    """Has full steps checked, and makes events of the findings.

    Args:
        writer: of the Run.
        checker: asks the rules.
    """

    def __init__(self, writer: RunWriter, checker: OnlineChecker) -> None:
        self._writer, self._checker = writer, checker
        self._failure_is_reported = False

    def check(self, when: StepTime, columns: StepColumns, values: Mapping[str, float]) -> None:
        """Check a full step, if it is time."""
        self._write(when, self._checker.check(when.step, columns, values))

    def finish(self, when: StepTime) -> None:
        """Check the last full step, for whoever waits for findings: a short run has no time for it before."""
        self._write(when, self._checker.finish())

    def _write(self, when: StepTime, found: Sequence[tuple[Finding, str]]) -> None:
        for finding, message in found:
            self._writer.event(when.step, when.time, "finding", message, finding.to_dict())
        self._tell_failure(when)

    def lost(self, when: StepTime, event: Event, columns: StepColumns | None, values: Mapping[str, float]) -> None:
        """Tell at once that numbers ceased to be finite: after that no full step may ever come. Causes come first."""
        self.finish(when)
        self._checker.lost(event, columns, values)
        self._tell_failure(when)

    def _tell_failure(self, when: StepTime) -> None:
        """Say in the Run, once, that the user's own function failed."""
        error = self._checker.listener.failure
        if error is not None and not self._failure_is_reported:
            self._failure_is_reported = True
            text = f"on_finding failed and isn't called again: {type(error).__name__}: {error}"
            self._writer.event(when.step, when.time, "trouble", text, {"error": repr(error)})
