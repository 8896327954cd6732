"""Second derivatives of a network of straight pieces, part of UT109: no equation can be learned by them."""

from undertow.record import Finding, Run, Severity
from undertow.rules.advice.cuts import curved_activations


def derivative_of_pieces(run: Run) -> Finding | None:
    """Return what to say of a loss that holds the derivative of a slope, where every slope is constant in pieces.

    Example:
        >>> derivative_of_pieces(Run({"straight": {"source": "net.py:9"}}, ())).name
        'straight pieces'
    """
    fact = run.header.get("straight")
    if not fact:
        return None
    text = (
        "A second derivative in the loss is zero everywhere: the activations are straight on both sides of zero (ReLU "
        "and its kin), and so is the network. What the loss asks of that derivative no weights can give."
    )
    limit, equation = "a derivative of a slope that isn't exactly zero everywhere", "relu''(z) = 0"
    found = Finding(
        "UT109", "straight pieces", Severity.WARNING, (), "", text, {}, limit, equation, source=str(fact["source"])
    )
    return curved_activations().on(found)
