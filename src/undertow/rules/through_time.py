"""`over_time`: what the rules have to say of a whole run."""

from collections.abc import Sequence
from dataclasses import replace

from undertow.record import Finding, Run, Severity
from undertow.rules.history import History
from undertow.rules.learning import settled
from undertow.rules.numbers import first_nonfinite
from undertow.rules.registry import RULES
from undertow.rules.spells import spells

STANDING_IN_THE_WAY = frozenset({"UT101", "UT102", "UT103", "UT104", "UT105", "UT108", "UT202", "UT404"})
"""Faults because of which a loss may stand still that has not converged."""

OFTEN = 0.1
"""Share of a run's taped steps in which a model must have taken a way for that to be judged, too."""

OF_THE_RUN = frozenset({"UT103", "UT403", "UT405", "UT406"})
"""Told once of a run, whatever ways its model took."""

SMALL_WHEN_DONE = frozenset({"UT101", "UT104", "UT105", "UT401", "UT402", "UT404"})
"""What small gradients and steps look like, and no fault once there is nothing left to learn."""


def over_time(run: Run) -> list[Finding]:
    """What the rules have to say of a run through time, the worst first.

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
    history = History(run)
    found = _seen(history)
    told = {(each.code, each.name): _modules(each, run) for each in found}
    for other in _often(run):
        for each in _seen(History(other)):
            key, modules = (each.code, each.name), _modules(each, other)
            if key not in told or (each.code not in OF_THE_RUN and modules and not modules & told[key]):
                found.append(_elsewhere(each, other))
                told[key] = told.get(key, frozenset()) | modules
    done = list(settled(history, [each for each in found if _stands_in_the_way(each)]))
    found = [_after(each, done) for each in found] + done
    return sorted(found, key=lambda finding: (-finding.severity.rank, finding.code, finding.where))


def _seen(history: History) -> list[Finding]:
    found = [*spells(history), *first_nonfinite(history)]
    for rule in RULES.values():
        if rule.over_time:
            found += rule.judge(history)
    return found


def _often(run: Run) -> list[Run]:
    taped = sum(run.header.get("graphs", [len(run), *map(len, run.other_graphs)]))
    return [other for other in run.other_graphs if len(other) >= OFTEN * taped]


def _modules(finding: Finding, run: Run) -> frozenset[str]:
    return frozenset(run.sites[site].module for site in finding.sites)


def _elsewhere(finding: Finding, run: Run) -> Finding:
    """A finding on another way than the one that is shown, whose Sites aren't its own."""
    text = f"{finding.message} (Where the model takes another way than most often, as at step {_first_step(run):,}.)"
    return replace(finding, sites=(), message=text)


def _first_step(run: Run) -> int:
    return int(History(run).steps[0])


def _stands_in_the_way(finding: Finding) -> bool:
    return finding.code in STANDING_IN_THE_WAY and finding.severity is not Severity.NOTE


def _after(finding: Finding, done: Sequence[Finding]) -> Finding:
    """What began when there was nothing left to learn is no fault."""
    ended = done[0].began if done else None
    if ended is None or finding.began is None or finding.began < ended or finding.code not in SMALL_WHEN_DONE:
        return finding
    text = f"{finding.message} By then the run had converged."
    return replace(finding, severity=Severity.NOTE, message=text)
