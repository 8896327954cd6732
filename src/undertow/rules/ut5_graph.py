"""UT501: what the gradient does not reach at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.rules.advice.graph import frozen_or_used, gradient_let_through
from undertow.rules.registry import rule
from undertow.wording import few


@rule(
    "UT501",
    "unreached parameters",
    explains=("UT104", "UT105", "UT407", "UT704"),
)
def unreached(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Parameters require grad and get none.

    What:
        No path of the autograd graph leads from the loss to the parameter.
    Why it is bad:
        It is never trained. Usually something on the way was detached, or the layer is not used.
    Evidence:
        ``parameters``: how many there are. A gradient of zeros is a gradient.
    Threshold:
        Any. Its severity follows from what the parameter is to the loss. An error if the loss is computed from it and
        its gradient is cut off on the way (detach, no_grad, integers): it takes part and never learns. A note if the
        loss is not computed from it: a pooler or a mask token that this loss has no use for. A note if its module
        wasn't run at all: a mixture's experts that were not chosen, or layers dropped at random. A warning if numbers
        that follow from it left torch (.item(), .tolist()), or where nobody looked, as in a watched run; there a note
        for a single tensor of a module that holds layers beside it, as a mask token.
    What to do:
        Where it is cut off, look at the operation that is named; in place of argmax and rounding, something that has a
        derivative (softmax, a straight-through estimate). Freeze what is meant to be frozen with
        requires_grad_(False).
    References:
        PyTorch documentation, autograd mechanics: locally disabling gradient computation.
    """
    header = diagnosis.run.header
    groups = {"idle": header.get("not run", []), **{kind: header.get(kind, []) for kind in ("read out", "unused")}}
    cuts = header.get("cut off", {})
    known = {name for names in (*groups.values(), cuts) for name in names}
    rest = [name for name in header.get("unreached", []) if name not in known]
    layers = [name for name in rest if not _bare(name, diagnosis.run)]
    groups["unknown"], groups["bare"] = layers, [name for name in rest if name not in layers]
    yield from _cut_off(cuts)
    for kind, (severity, why) in _KINDS.items():
        if groups[kind]:
            yield frozen_or_used(groups[kind], kind).on(_unreached(groups[kind], severity, why))


_KINDS = {
    "unknown": (Severity.WARNING, ""),
    "bare": (Severity.NOTE, " It may be of no use to this loss, as a mask token."),
    "read out": (
        Severity.WARNING,
        " Numbers that follow from it leave torch (.item(), .tolist()): gradient ends there.",
    ),
    "unused": (Severity.NOTE, " The loss is not computed from it: nothing uses what it makes."),
    "idle": (Severity.NOTE, " Their modules weren't run."),
}


def _bare(name: str, run: Run) -> bool:
    """Tell whether a parameter is a tensor by itself, of a module that holds other modules, whose layers train."""
    module = name.rpartition(".")[0]
    inside = f"{module}." if module else ""
    held = {each for site in run.sites for each in site.parameters}
    return any(each.startswith(inside) and "." in each[len(inside) :] for each in held)


_WAYS = {"detach": ".detach() or .data", "no_grad": "no_grad", "alias": ".data"}


def _cut_off(cuts: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    """Report what is used and cut off, once for each place where it is cut."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for name, cut in cuts.items():
        places.setdefault((cut.get("op", ""), cut.get("module", ""), cut.get("source", "")), []).append(name)
    for (op, module, source), names in places.items():
        by = _WAYS.get(op, f"{op}, which passes no gradient on") if op else "something that nobody saw"
        why = f" The loss is computed from it, but its gradient is cut off by {by}{f' in {module}' if module else ''}."
        found = replace(_unreached(names, Severity.ERROR, why), source=source)
        yield gradient_let_through(names, op, source).on(found)


def _unreached(names: Sequence[str], severity: Severity, why: str) -> Finding:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = f"No gradient reaches {few(names)}.{why}"
    numbers = {"parameters": float(len(names))}
    return Finding("UT501", "unreached parameters", severity, (), shown, text, numbers, "none is left out")
