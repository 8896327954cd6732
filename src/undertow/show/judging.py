"""What the rules have to say of a run, over its steps where they can tell, else at the last one taped."""

import undertow.rules
from undertow.record import Finding, Run


def judged(run: Run) -> list[Finding]:
    """Findings, the worst first.

    Example:
        >>> judged(Run({}, ()))
        []
    """
    over_time = getattr(undertow.rules, "over_time", None)
    if over_time is not None:
        return list(over_time(run))
    return undertow.rules.judge([run]) if len(run) else []
