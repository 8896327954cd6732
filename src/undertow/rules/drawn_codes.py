"""Codes that are drawn without gradient, part of UT109: what draws them learns from other terms alone."""

from undertow.record import Finding, Run, Severity
from undertow.rules.advice.cuts import drawn_with_gradient
from undertow.rules.straight_pieces import derivative_of_pieces
from undertow.wording import line_of


def lost_in_the_forward_pass(run: Run) -> Finding | None:
    """Return what to say of gradient that the loss can't have by how it is computed, which `examine` sees alone.

    Example:
        >>> lost_in_the_forward_pass(Run({}, ())) is None
        True
    """
    return derivative_of_pieces(run) or drawn_without_gradient(run)


def drawn_without_gradient(run: Run) -> Finding | None:
    """Return what to say of numbers drawn by learned means and deviations that pass no gradient on to these.

    Example:
        >>> drawn_without_gradient(Run({"drawn": {"source": "net.py:9"}}, ())).name
        'drawn without gradient'
    """
    fact = run.header.get("drawn")
    if not fact:
        return None
    source = str(fact["source"])
    place = f" ({line_of(source)})" if source else ""
    text = (
        f"What is drawn here{place} passes no gradient on to the mean and the deviation that it is drawn by, and goes "
        "on into layers. The layers before it learn nothing of what those make of it, but from other terms alone, such "
        "as a divergence."
    )
    limit, equation = "a draw that gradient passes, or whose log-probability is in the loss", "z = mu + sigma e"
    found = Finding(
        "UT109", "drawn without gradient", Severity.WARNING, (), "", text, {}, limit, equation, source=source
    )
    return drawn_with_gradient().on(found)
