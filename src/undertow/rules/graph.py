"""UT501: what the gradient does not reach at all."""

from collections.abc import Iterator

from undertow.record import Finding, Severity
from undertow.rules.evidence import Evidence
from undertow.rules.registry import rule


@rule("UT501", "unreached parameters")
def unreached(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that require grad and get none.

    What:
        No path of the autograd graph leads from the loss to the parameter.
    Why it is bad:
        It is never trained. Usually something on the way was detached, or the layer is not used.
    Evidence:
        ``parameters``: how many there are. (A gradient of zeros is a gradient; a mixture's experts that were not
        chosen for this batch are named here if they were not run.)
    Threshold:
        Any.
    What to do:
        Look for .detach(), .item(), .data, no_grad, argmax or rounding on the way; freeze what is meant to be
        frozen with requires_grad_(False).
    References:
        PyTorch documentation, autograd mechanics: locally disabling gradient computation.
    """
    names = evidence.run.header.get("unreached", [])
    if not names:
        return
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = f"No gradient reaches {shown}."
    numbers = {"parameters": float(len(names))}
    yield Finding("UT501", "unreached parameters", Severity.WARNING, (), shown, text, numbers, "none")
