"""The rules of `examine`, on steps of a training run, as often as there is time for."""

import importlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from undertow import rules
from undertow.record import Event, Finding, Run, Severity
from undertow.watching.sheets import Taped

OnFinding = Callable[[Finding], object]

OF_A_STEP = {"loss": 0.0, "lr": 0.0, "scale": 1.0}
"""What rules want to know of the step, and what it is where nobody knows."""

FIRST = 0.2
"""Seconds that judging takes the first time: much is loaded for it."""


@dataclass
class Jury:
    """Judges a tape, keeps what was found, and says whether training should stop.

    Args:
        share: of the time that may go into judging.
        on_finding: called with every new finding, on the writer's thread.
        stop_on: codes of findings, or severities, after which training should stop.
        header: what rules want to know of the model and the optimizer.

    Attributes:
        stopping: the finding to stop for, None as long as there is none.
        failure: what went wrong in ``on_finding``; it isn't called again.
    """

    share: float
    on_finding: OnFinding | None = None
    stop_on: Collection[str] = ()
    header: Mapping[str, Any] = field(default_factory=dict)
    stopping: Finding | None = None
    failure: Exception | None = None
    clock: Callable[[], float] = time.monotonic
    _known: set[tuple[str, str]] = field(default_factory=set)
    _not_before: float = 0.0

    def __post_init__(self) -> None:
        if self.on_finding is None and not self.stop_on:  # nobody waits for it
            self._not_before = self.clock() + FIRST / self.share
        else:
            importlib.import_module("undertow.theory")  # a rule needs it: better now than during training

    def hear(self, step: int, found: Taped, values: Mapping[str, float]) -> list[tuple[Finding, str]]:
        """Judge one tape, if it is time: new findings, each with what to say."""
        begun = self.clock()
        if begun < self._not_before or values.get("skipped"):  # by a scaler, whose ordinary work that is
            return []
        findings = rules.judge([self._run(found, values)])
        # What is urgent was reported when it happened, and isn't again at every full step that follows.
        told = [each for each in findings if not rules.RULES[each.code].urgent and self._is_new(each)]
        new = [replace(each, evidence={**each.evidence, "at step": float(step)}) for each in told]
        taken = self.clock() - begun
        self._not_before = begun + taken / self.share
        for finding in new:
            self._tell(finding)
        return [(finding, f"{finding.code} {finding.name}, seen at step {step}: {finding.message}") for finding in new]

    def lost(self, event: Event, found: Taped | None, values: Mapping[str, float]) -> None:
        """Tell that numbers ceased to be finite, whenever that is seen; ``found``: if that very step was taped."""
        run = Run(dict(self.header), ()) if found is None or not found.sheet.sites else self._run(found, values)
        after = event.data["after"]  # the last step that was finite: -1 if none was
        seen = {"step": np.array([float(after if after >= 0 else event.step)])}
        run = replace(run, events=(event,), scalars=seen, steps={"step": np.full(len(run), float(event.step))})
        for finding in rules.urgent(run):
            self._tell(finding)

    def _is_new(self, finding: Finding) -> bool:
        key = finding.code, finding.where
        new = key not in self._known
        self._known.add(key)
        return new

    def _tell(self, finding: Finding) -> None:
        if self.stopping is None and (finding.code in self.stop_on or str(finding.severity) in self.stop_on):
            self.stopping = finding
        if self.on_finding is not None and self.failure is None:
            try:
                self.on_finding(finding)
            except Exception as error:  # it is the user's, and training goes on
                self.failure = error

    def _run(self, found: Taped, values: Mapping[str, float]) -> Run:
        measured = found.measured
        return Run(
            {**self.header, **{name: values.get(name, usual) for name, usual in OF_A_STEP.items()}},
            found.sheet.sites,
            found.sheet.edges,
            {name: column[None] for name, column in measured.by_site.items()},
            {name: column[None] for name, column in measured.by_edge.items()},
        )


def check_stop(stop_on: Collection[str]) -> None:
    """Raise ValueError unless all are codes of rules or severities."""
    known = {*rules.RULES, *map(str, Severity)}
    for each in stop_on:
        if each not in known:
            raise ValueError(f"stop_on has {each!r}, which is neither a rule's code nor one of: {', '.join(Severity)}")
