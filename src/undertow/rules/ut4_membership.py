"""UT407: parameters that get gradient and no step, as no optimizer holds them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from undertow.diagnosis import Diagnosis
from undertow.formatting import counted
from undertow.record import Finding, Severity
from undertow.rules.advice.steps import of_the_whole_model
from undertow.rules.registry import Blocks, rule

NOTHING_LEFT = 0.999
"""Part of the squared gradient that goes to parameters nobody holds, above which nothing worth it is trained."""


@rule(
    "UT407",
    "not in the optimizer",
    header=("held",),
    once_per_run=True,
    blocks_converged=Blocks.EVER,
    explains=("UT104", "UT105", "UT704"),
)
def not_held(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Parameters get gradient, and no optimizer takes a step with it.

    What:
        The loss's gradient reaches parameters that no optimizer holds. Or the optimizer holds parameters that can't
        move: those of another model (of one that was replaced, or a copy), frozen ones, ones that no gradient reaches.
    Why it is bad:
        These parameters stay as they are at the start. Where all of them do, the loss never falls, however good
        gradient and learning rate look.
    Evidence:
        ``missing``: parameters with gradient that nobody holds; ``share``: their part of the squared gradient;
        ``reached``: parameters that are held and get gradient; ``foreign``, ``frozen``, ``unreached``: held, and can't
        move as they are none of this model's, don't require grad, or are not reached from this loss.
    Threshold:
        An error if nothing that is held gets gradient. Else a warning for every parameter left out; a note where it
        may belong to an optimizer that nobody mentioned: one optimizer was given, it holds whole modules of the
        model and nothing foreign, and what is left out is whole modules too, as the other half of a GAN is. A watched
        run knows whether somebody stepped them: there only what never moved is reported. Parameters that don't
        require grad are frozen on purpose and aren't reported.
    What to do:
        Make the optimizer after the model has its final parameters (after replacing a head, copying, or wrapping), or
        add what is missing by ``optimizer.add_param_group({"params": module.parameters()})``. What shall stay as it
        is, freeze by ``requires_grad_(False)``. With several optimizers, give all of them.
    References:
        PyTorch documentation, torch.optim: constructing it; spro/practical-pytorch, issue 9 (a model made again after
        its optimizer).
    """
    held: Mapping[str, Any] = diagnosis.run.header["held"]
    missing = [str(name) for name in held["missing"]]
    header, foreign = diagnosis.run.header, bool(held["foreign"])
    if not held["reached"]:
        yield of_the_whole_model(header, missing, foreign or not held["unreached"]).on(_holds_nothing(held, missing))
    elif missing:
        yield of_the_whole_model(header, missing, foreign).on(_left_out(held, missing))


def _holds_nothing(held: Mapping[str, Any], missing: Sequence[str]) -> Finding:
    only_unreached = held["unreached"] and not held["foreign"]
    foreign, unreached, frozen = (counted(held[name], "parameter") for name in ("foreign", "unreached", "frozen"))
    why = "It holds no parameter at all."
    if held["foreign"]:
        why = f"It holds {foreign} of another model: was the model made, copied or replaced after the optimizer?"
    elif held["unreached"]:
        why = f"It holds {unreached}, and the loss reaches none of them (see UT501)."
    elif held["frozen"]:
        why = f"It holds {frozen}, all of them frozen (requires_grad=False)."
    text = f"The optimizer holds none of the weights that get gradient, so that its steps change nothing. {why}"
    severity = Severity.WARNING if only_unreached else Severity.ERROR
    return _finding(severity, _shown(missing), text, held)


def _left_out(held: Mapping[str, Any], missing: Sequence[str]) -> Finding:
    share = float(held.get("missing share", 0.0))
    text = f"{_shown(missing)} are in no optimizer: they get gradient, and no step changes them."
    if len(missing) == 1:
        text = f"{missing[0]} is in no optimizer: it gets gradient, and no step changes it."
    severity = Severity.ERROR if share > NOTHING_LEFT and held["foreign"] else Severity.WARNING
    if held["foreign"]:
        others = counted(held["foreign"], "parameter")
        text += f" The optimizer holds {others} of another model: were these layers replaced after it was made?"
    elif held.get("whole modules"):
        severity = Severity.NOTE
        text += " If another optimizer holds them, as one holds the other half of a GAN, give that one, too."
    return _finding(severity, _shown(missing), text, held)


def _finding(severity: Severity, where: str, text: str, held: Mapping[str, Any]) -> Finding:
    counts = {name: float(held[name]) for name in ("reached", "foreign", "frozen", "unreached")}
    numbers = {"missing": float(len(held["missing"])), "share": float(held.get("missing share", 0.0)), **counts}
    limit = "every parameter with gradient is in an optimizer"
    return Finding("UT407", "not in the optimizer", severity, (), where, text, numbers, limit)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "the optimizer"
