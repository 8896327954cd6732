"""Judge recorded steps, and runs through time: `judge`, `diagnose`, `over_time`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity, with_finite_steps
from undertow.rules.failures import findings_by
from undertow.rules.firing_intervals import findings_of_steps
from undertow.rules.registry import RULES, Blocks, Rule, holds_for
from undertow.rules.run_outcome import came_late, with_outcomes

OFTEN = 0.1
"""Share of a run's full steps in which a model must have taken a graph for that to be judged, too."""


def diagnose(runs: Sequence[Run]) -> Diagnosis:
    """Judge several passes and return the first of them with the findings of all.

    Args:
        runs: at least one; each is judged by its last step.

    Returns:
        A Diagnosis of the first run's last step; what the rules needed of it is not worked out again. Its findings
        are those of `judge`.

    Raises:
        ValueError: there is no run.

    Example:
        >>> diagnose([Run({"unreached": ["fc.weight"]}, ())]).findings[0].code
        'UT501'
    """
    if not runs:
        raise ValueError("there is no pass to judge: give at least one Run")
    findings: list[Finding] = []
    first = Diagnosis(runs[0], findings=findings)
    findings += findings_of([first, *map(Diagnosis, runs[1:])])
    return first


def judge(runs: Sequence[Run]) -> list[Finding]:
    """Judge several passes by the rules of single steps, the worst finding first.

    Args:
        runs: each is judged by its last step; what takes a run through time is for `over_time`.

    Returns:
        Every finding once for all passes with the same code and place; its confidence is the share of passes that it
        was made in, its numbers are those of the first of these.

    Example:
        >>> judge([Run({"unreached": ["fc.weight"]}, ())])[0].message
        'No gradient reaches fc.weight.'
    """
    return findings_of([Diagnosis(run) for run in runs])


def findings_of(diagnoses: Sequence[Diagnosis]) -> list[Finding]:
    """Judge steps as `judge` does; what the rules need of a step stays worked out in its Diagnosis.

    Example:
        >>> findings_of([Diagnosis(Run({"unreached": ["fc.weight"]}, ()))])[0].code
        'UT501'
    """
    found: dict[tuple[str, str], list[Finding]] = {}
    for diagnosis in diagnoses:
        for each in RULES.values():
            if each.judge is None or not each.applies_to(diagnosis.run):
                continue
            for finding in findings_by(each.code, each.judge, diagnosis):
                found.setdefault((finding.code, finding.where), []).append(_with_source(finding, diagnosis.run))
    return in_order([_with(same[0], confidence=len(same) / len(diagnoses)) for same in found.values()])


def _with_source(finding: Finding, run: Run) -> Finding:
    known = (run.sites[site].source for site in finding.sites)
    message = f"{finding.message}{_ties(finding, run)}"
    return _with(finding, message=message, source=finding.source or next((line for line in known if line), ""))


def _with(finding: Finding, **facts: Any) -> Finding:
    """Return a finding with other facts; itself where they are no others, as to make a new one takes long."""
    same = all(getattr(finding, name) == value for name, value in facts.items())
    return finding if same else replace(finding, **facts)


def _ties(finding: Finding, run: Run) -> str:
    """Return what to add about layers that a finding names and whose weights are another module's, too."""
    sites = {run.sites[site].name: run.sites[site].tied_with for site in finding.sites}
    named = {name: owner for name, owner in sites.items() if owner and name in f"{finding.where} {finding.message}"}
    return "".join(f" ({name} is tied with {owner}.)" for name, owner in named.items())


def urgent(run: Run) -> list[Finding]:
    """Judge a run by those rules alone that a watcher must not wait with, such as the first inf or nan.

    Example:
        >>> import numpy as np
        >>> run = Run({}, (), scalars={"step": np.arange(3.0), "nonfinite": np.array([0.0, 0.0, 1.0])})
        >>> [(found.code, found.began) for found in urgent(run)]
        [('UT103', 2)]
    """
    return [finding for each in RULES.values() if each.urgent for finding in _judged(each, RunHistory(run))]


def over_time(run: Run) -> list[Finding]:
    """Judge a run through time, the worst finding first.

    A chosen few of the taped steps are judged as `judge` does, and where a finding began is looked for between them;
    what takes the whole run to see (collapse, convergence, spikes of the loss, clipping, the first inf or nan) is read
    off its columns, and off the losses where no step was taped. Where the model took several ways (``run.elsewhere``:
    of two optimizers' turns each has its own), each is judged that was taken in a tenth of the taped steps.

    Args:
        run: also one that still grows.

    Returns:
        Every finding once, with the optimizer's step at which it ``began``, whether it was ``born`` there or
        developed, and at which it ``ended`` (then it is but a note). What single batches do isn't told. ``sites`` are
        places in ``run.sites``; a finding on another way has none, and its message says so.

    Example:
        >>> import numpy as np
        >>> losses = np.concatenate([3 * 0.9 ** np.arange(60.0), [np.inf]])
        >>> [(found.code, found.began, found.from_start) for found in over_time(Run({}, (), scalars={"loss": losses}))]
        [('UT103', 60, False)]
    """
    run = with_finite_steps(run)
    found = _findings_of_run(RunHistory(run))
    known = {(each.code, each.name): _modules(each, run) for each in found}
    for other in _frequent_graphs(run):
        for each in _findings_of_run(RunHistory(other)):
            key, modules = (each.code, each.name), _modules(each, other)
            if key not in known or (not RULES[each.code].once_per_run and modules and not modules & known[key]):
                found.append(_in_other_graph(each, other))
                known[key] = known.get(key, frozenset()) | modules
            elif RULES[each.code].once_per_run:
                found = [_with_a_place(mine, each, other) for mine in found]
    weighed = _weighed(run, found)
    known_better = {(each.code, each.name) for each in weighed}
    found = [each for each in found if (each.code, each.name) not in known_better] + weighed
    converged = _convergence(run, found)
    return with_outcomes(in_order([_after(each, converged) for each in found] + converged, _between_full_steps(run)))


def _findings_of_run(history: RunHistory) -> list[Finding]:
    found = findings_of_steps(history)
    for each in RULES.values():
        if not each.declares_convergence and not each.weighs_others:
            found += _judged(each, history)
    return found


def _judged(rule: Rule, history: RunHistory) -> Iterator[Finding]:
    if rule.judge_run is not None and rule.applies_to(history.run):
        yield from findings_by(rule.code, rule.judge_run, history)


def _frequent_graphs(run: Run) -> list[Run]:
    recorded = sum(run.header.get("graphs", [len(run), *map(len, run.other_graphs)]))
    return [other for other in run.other_graphs if len(other) >= OFTEN * recorded]


def _modules(finding: Finding, run: Run) -> frozenset[str]:
    return frozenset(run.sites[site].module for site in finding.sites)


def _with_a_place(mine: Finding, theirs: Finding, run: Run) -> Finding:
    """Return a finding as another graph has it, if it is the same and only that one knows where."""
    same = (mine.code, mine.name, mine.began) == (theirs.code, theirs.name, theirs.began)
    return _in_other_graph(theirs, run) if same and theirs.sites and not mine.sites else mine


def _in_other_graph(finding: Finding, run: Run) -> Finding:
    """Return a finding without its Sites: they aren't those of the graph that is shown."""
    step = int(RunHistory(run).steps[0])
    text = f"{finding.message} (Where the model takes another way than most often, as at step {step:,}.)"
    return replace(finding, sites=(), message=text)


def in_order(found: Sequence[Finding], slack: float = 0.0) -> list[Finding]:
    """Return findings with the worst first, and a cause before what it explains.

    A fault that explains a worse one is as bad as that, and the worse one says that it follows from it. What began
    later explains nothing that was there before; where two explain each other, the earlier one is the cause.

    Args:
        found: in any order.
        slack: steps by which something may seem to have begun later than it did, as between two full steps.

    Example:
        >>> late, early = (Finding(code, "", Severity.ERROR, (), "", "") for code in ("UT103", "UT410"))
        >>> [(each.code, each.follows_from) for each in in_order([late, early])]
        [('UT410', ''), ('UT103', 'UT410')]
    """
    causes = [_causes(each, found, slack) for each in found]
    rank, before = [each.severity.rank for each in found], list[int]()
    while rank != before:  # what explains a cause of something bad is as bad, too
        before = list(rank)
        for effect, its in enumerate(causes):
            for cause in its:
                rank[cause] = max(rank[cause], rank[effect])
    told = []
    for n, each in enumerate(found):
        first = min(causes[n], key=lambda cause: (bool(causes[cause]), -rank[cause], found[cause].code), default=None)
        severity = list(Severity)[rank[n]]
        told.append(_with(each, severity=severity, follows_from="" if first is None else found[first].code))
    return sorted(
        told,
        key=lambda each: (-each.severity.rank, bool(each.follows_from), not _doubtful(each), each.code, each.where),
    )


def _doubtful(finding: Finding) -> bool:
    """Tell whether it is a note that comes before others, as it may be a fault."""
    return finding.severity is Severity.NOTE and holds_for(RULES[finding.code].doubtful, finding)


def _causes(effect: Finding, found: Sequence[Finding], slack: float) -> list[int]:
    """Return the places of what explains a finding: of a fault other faults, of a note notes as well."""
    return [
        place
        for place, cause in enumerate(found)
        if _explains(cause, effect, slack)
        and not (_explains(effect, cause, slack) and _earlier(effect) < _earlier(cause))
    ]


def _explains(cause: Finding, effect: Finding, slack: float) -> bool:
    rule = RULES[cause.code]
    if not {effect.code, f"{effect.code} {effect.name}"} & set(rule.explains):
        return False
    if rule.explains_by and cause.name not in rule.explains_by:
        return False
    if cause.severity is Severity.NOTE and effect.severity is not Severity.NOTE:
        return False
    if rule.acts_by_steps and (effect.began is None or effect.from_start) and not _of_a_run(effect):
        return False
    if _of_a_run(effect):
        return not came_late(cause, effect.evidence.get("steps", np.inf), effect.began or 0)
    if cause.began is None or effect.began is None:
        return True
    return cause.began <= effect.began + slack and (cause.from_start or not effect.from_start)


def _of_a_run(finding: Finding) -> bool:
    """Tell whether a finding is about the whole run, so that when it began says nothing."""
    return RULES[finding.code].weighs_others and not RULES[finding.code].judges_steps


def _earlier(finding: Finding) -> tuple[float, bool, int, int]:
    """Order findings that explain each other by what comes first.

    At the start it is what the network is like: representations that are alike (UT205) make units that are off for
    every example (UT202), and a gradient that decay outweighs (UT409). What developed comes from how it is trained.
    """
    at_start, family, number = (
        finding.from_start or finding.began is None,
        int(finding.code[-3]),
        int(finding.code[-2:]),
    )
    order = (family, -number) if at_start else (-family, number)
    return finding.began or 0, not at_start, *order


def _between_full_steps(run: Run) -> float:
    """Return how many steps lie between two full ones, at most usually."""
    steps = RunHistory(run).steps
    return float(np.median(np.diff(steps))) if len(steps) > 1 else 0.0


def _weighed(run: Run, found: Sequence[Finding]) -> list[Finding]:
    """Return what the rules say that judge a run in the light of what the others found."""
    faults = [each for each in found if each.severity is not Severity.NOTE]
    history = RunHistory(run, faults)
    return [finding for each in RULES.values() if each.weighs_others for finding in _judged(each, history)]


def _convergence(run: Run, found: Sequence[Finding]) -> list[Finding]:
    """Return what says since when the run has converged; empty if it hasn't, or if a fault may be the reason."""
    history = RunHistory(run, [each for each in found if _blocks_converged(each)])
    return [finding for each in RULES.values() if each.declares_convergence for finding in _judged(each, history)]


def _blocks_converged(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTE and RULES[finding.code].blocks_converged is not Blocks.NEVER


def _after(finding: Finding, converged: Sequence[Finding]) -> Finding:
    """Return a note for what began when there was nothing left to learn."""
    since = converged[0].began if converged else None
    if since is None or finding.began is None or finding.began < since:
        return finding
    if not RULES[finding.code].excused_by_convergence:
        return finding
    text = f"{finding.message} By then the run had converged."
    return replace(finding, severity=Severity.NOTE, message=text)
