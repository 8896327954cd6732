"""UT501: what the gradient does not reach at all."""

from collections.abc import Iterator, Sequence

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.registry import rule


@rule("UT501", "unreached parameters")
def unreached(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Parameters that require grad and get none.

    What:
        No path of the autograd graph leads from the loss to the parameter.
    Why it is bad:
        It is never trained. Usually something on the way was detached, or the layer is not used.
    Evidence:
        ``parameters``: how many there are. A gradient of zeros is a gradient.
    Threshold:
        Any. If their modules weren't run at all, a note: a mixture's experts that were not chosen, or layers dropped
        at random, may be run the next time.
    What to do:
        Look for .detach(), .item(), .data, no_grad, argmax or rounding on the way; freeze what is meant to be
        frozen with requires_grad_(False).
    References:
        PyTorch documentation, autograd mechanics: locally disabling gradient computation.
    """
    header = diagnosis.run.header
    idle = header.get("not run", [])
    detached = [name for name in header.get("unreached", []) if name not in idle]
    for names, severity, why in (
        (detached, Severity.WARNING, ""),
        (idle, Severity.NOTE, " Their modules weren't run."),
    ):
        if names:
            yield _unreached(names, severity, why)


def _unreached(names: Sequence[str], severity: Severity, why: str) -> Finding:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = f"No gradient reaches {shown}.{why}"
    numbers = {"parameters": float(len(names))}
    return Finding("UT501", "unreached parameters", severity, (), shown, text, numbers, "none is left out")
