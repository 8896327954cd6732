"""UT501: what the gradient does not reach at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Run, Severity
from undertow.rules.advice.graph import frozen_or_used, gradient_let_through, loss_left_whole
from undertow.rules.registry import RUN, Blocks, rule
from undertow.wording import few

FEWEST_STEPS = 10
"""Steps of an optimizer that never was given a gradient, after which none is awaited."""


@rule(
    "UT501",
    "unreached parameters",
    explains=("UT104", "UT105", "UT407", "UT704", "UT706"),
    weighs_others=True,
    blocks_converged=Blocks.BEFORE,
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
        for a single tensor of a module that holds layers beside it, as a mask token. An error if none at all is
        reached: a loss that was made anew from a number takes its own gradient and passes nothing on, without a word;
        in a run, ten steps of an optimizer that no gradient was ever given to, where none was cleared either.
    What to do:
        Where it is cut off, look at the operation that is named; in place of argmax and rounding, something that has a
        derivative (softmax, a straight-through estimate). Freeze what is meant to be frozen with
        requires_grad_(False).
    References:
        PyTorch documentation, autograd mechanics: locally disabling gradient computation.
    """
    header = diagnosis.run.header
    if header.get("severed"):
        yield _severed_by(header)
        return
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


@rule("UT501", "unreached parameters", over=RUN)
def never_reached(history: RunHistory) -> Iterator[Finding]:
    """The optimizer has stepped, and never was given a gradient."""
    run, noted = history.run, history.scalar("step").values
    passes = history.scalar("backwards").values
    if run.sites or run.header.get("unseen") or not len(noted) or not len(passes) or passes.any():
        return
    steps = int(noted[-1] - history.first_step) + 1
    given = any((history.scalar(name).values > 0).any() for name in ("grad_norm", "grad_norm_unclipped"))
    if steps < FEWEST_STEPS or given or (history.scalar("cleared").values > 0).any():
        return
    text = (
        f"No gradient has reached any parameter in {steps:,} steps: the loss that is backpropagated was made anew from "
        "numbers (.item(), .data, argmax, numpy), or loss.backward() is never called."
    )
    found = _whole(text, len(run.parameters) or 1)
    yield loss_left_whole("").on(replace(found, began=int(history.first_step), from_start=True))


def _severed_by(header: Mapping[str, Any]) -> Finding:
    """Return what to say of a loss from which no gradient leads to any parameter."""
    names = list(header["unreached"])
    cut: Mapping[str, str] = next((each for each in header.get("cut off", {}).values() if each), {})
    op, source = str(cut.get("op", "")), str(cut.get("source", ""))
    by = f" It is cut off by {_WAYS.get(op, f'{op}, which passes no gradient on')}." if op else ""
    if not op and header.get("read out"):
        by = " Numbers that it was made from left torch (.item(), .tolist(), .numpy()): gradient ends there."
    text = f"No gradient reaches any parameter: the loss takes a gradient of its own and passes none on.{by}"
    return loss_left_whole(op, source).on(replace(_whole(text, len(names)), source=source))


def _whole(text: str, parameters: int) -> Finding:
    numbers = {"parameters": float(parameters)}
    return Finding("UT501", "unreached parameters", Severity.ERROR, (), "the loss", text, numbers, "none is left out")


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
        it, its = ("it", "its") if len(names) == 1 else ("them", "their")
        where = f" in {module}" if module else ""
        why = f" The loss is computed from {it}, but {its} gradient is cut off by {by}{where}."
        found = replace(_unreached(names, Severity.ERROR, why), source=source)
        yield gradient_let_through(names, op, source).on(found)


def _unreached(names: Sequence[str], severity: Severity, why: str) -> Finding:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = f"No gradient reaches {few(names)}.{why}"
    numbers = {"parameters": float(len(names))}
    return Finding("UT501", "unreached parameters", severity, (), shown, text, numbers, "none is left out")
