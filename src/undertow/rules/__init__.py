"""One rule, one code, one function, one docstring. Rules read Runs, never a live model."""

from collections.abc import Sequence
from dataclasses import replace

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run
from undertow.rules import (  # noqa: F401  # importing them registers their rules
    graph,
    healthy,
    initialisation,
    learning,
    optimizer,
    paths,
    progress,
    scale,
    spikes,
    starting,
    units,
)
from undertow.rules.history import History
from undertow.rules.registry import RULES, Rule
from undertow.rules.through_time import over_time

__all__ = ["RULES", "History", "Rule", "judge", "over_time"]


def judge(runs: Sequence[Run]) -> list[Finding]:
    """What the rules have to say about several passes, the worst first.

    Args:
        runs: each is judged by its last step; what takes a run through time is for `over_time`.

    Returns:
        Every finding once for all passes with the same code and place; its confidence is the share of passes that it
        was made in, its numbers are those of the first of these.

    Example:
        >>> judge([Run({"unreached": ["fc.weight"]}, ())])[0].message
        'No gradient reaches fc.weight.'
    """
    found: dict[tuple[str, str], list[Finding]] = {}
    for run in runs:
        diagnosis = Diagnosis(run)
        for each in (known for known in RULES.values() if not known.over_time):
            for finding in each.judge(diagnosis):
                found.setdefault((finding.code, finding.where), []).append(_with_source(finding, run))
    findings = [replace(same[0], confidence=len(same) / len(runs)) for same in found.values()]
    return sorted(findings, key=lambda finding: (-finding.severity.rank, finding.code))


def _with_source(finding: Finding, run: Run) -> Finding:
    known = (run.sites[site].source for site in finding.sites)
    return replace(finding, source=finding.source or next((line for line in known if line), ""))
