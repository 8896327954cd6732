"""Gradient that a normalisation takes away whole, part of UT109: what is looked at behind it is a mean."""

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Severity
from undertow.rules.advice.cuts import means_kept
from undertow.wording import called, sentence

SUBTRACT_MEANS = frozenset({"native_batch_norm", "native_layer_norm", "native_group_norm", "cudnn_batch_norm"})
ROUNDING = 1e-6
"""Of a gradient: float32 leaves so much of sums that cancel; a deviation would have to be a million to do it."""

UNDERFLOW = {"float16": 1e-3, "bfloat16": 1e-25}
UNDERFLOW_ELSE = 1e-25


def lost_in_a_mean(diagnosis: Diagnosis) -> Finding | None:
    """Return what to say of a normalisation on the way of all gradient that passes nothing but rounding on.

    It takes the mean away, so a mean over what it returns (a pooling) is its bias, whatever came in.

    Example:
        >>> from undertow.record import Run
        >>> lost_in_a_mean(Diagnosis(Run({}, ()))) is None
        True
    """
    run, path = diagnosis.run, diagnosis.gradient_path
    kinds = {str(each) for each in run.header.get("dtypes", ())}
    if path is None or not diagnosis.finite or not kinds or kinds & {"torch.float16", "torch.bfloat16"}:
        return None
    received, passed = diagnosis.column("grad_output"), diagnosis.column("grad_input")
    for place in path.sites:
        site = run.sites[place]
        if site.op not in SUBTRACT_MEANS or not received[place] > least_gradient(diagnosis):
            continue
        if passed[place] < ROUNDING * received[place]:
            text = (
                f"{sentence(called(run, site))} passes nothing but rounding on of the gradient that it gets: it takes "
                "means away, and what is looked at behind it is such a mean (a pooling over what was normalised)."
            )
            numbers, limit = {"passed on": float(passed[place] / received[place])}, f"{ROUNDING:g} of what it gets"
            made = Finding("UT109", "gradient cut", Severity.ERROR, (place,), site.name, text, numbers, limit)
            return means_kept(called(run, site)).on(made)
    return None


def least_gradient(diagnosis: Diagnosis) -> float:
    """Return what must arrive, or zero may well be an underflow.

    Example:
        >>> from undertow.record import Run
        >>> least_gradient(Diagnosis(Run({"dtypes": ["torch.float16"]}, ())))
        0.001
    """
    dtypes = [str(each).removeprefix("torch.") for each in diagnosis.run.header.get("dtypes", ())]
    return max((UNDERFLOW.get(each, UNDERFLOW_ELSE) for each in dtypes), default=UNDERFLOW_ELSE)
