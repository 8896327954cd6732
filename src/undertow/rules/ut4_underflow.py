"""UT404: gradients that float16 makes zero of."""

from collections.abc import Iterator

import numpy as np

from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Severity
from undertow.rules.advice.steps import in_float32
from undertow.rules.registry import Blocks, rule
from undertow.rules.rounding import SMALLEST_HALF, received_rms
from undertow.rules.ut1_cut import underflowing
from undertow.wording import called, few


@rule(
    "UT404",
    "float16 underflow",
    header=("dtypes",),
    columns=("weight_grad_norm",),
    blocks_converged=Blocks.BEFORE,
    excused_by_convergence=True,
    explains=("UT101", "UT104", "UT109", "UT402", "UT408", "UT704"),
)
def underflow(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Gradients are too small for float16.

    What:
        In half of the layers or more the gradient of the weights is no larger than the smallest number of float16.
    Why it is bad:
        What is smaller becomes zero: those layers stand still, and everything in front of them.
    Evidence:
        ``rms`` of the gradient of a layer's weights, the median over layers; with the loss's scale, if it has one.
    Threshold:
        Under 6e-8, the smallest positive number of float16, in a model with parameters of float16. Under autocast,
        where parameters are float32: an operation whose gradient is under that, number by number, and which passes
        exactly nothing on (error).
    What to do:
        Scale the loss (torch.amp.GradScaler), or use bfloat16, which reaches as far down as float32.
    References:
        Micikevicius et al. 2018 (mixed precision training), section 3.2.
    """
    if "torch.float16" not in diagnosis.run.header.get("dtypes", ()):
        yield from _underflow_under_autocast(diagnosis)
    if "torch.float16" not in diagnosis.run.header.get("dtypes", ()) or not diagnosis.finite:
        return
    norm = diagnosis.column("weight_grad_norm")
    layers = [s for s in diagnosis.run.sites if s.role is Role.WEIGHT and s.weight_shape and np.isfinite(norm[s.index])]
    scale = diagnosis.loss_scale
    rms = {s.index: scale * float(norm[s.index] / np.sqrt(np.prod(s.weight_shape))) for s in layers}
    small = tuple(site for site in rms if rms[site] < SMALLEST_HALF)
    if not rms or len(small) < len(rms) / 2:
        return
    text = (
        f"In {len(small)} of {len(rms)} layers, {called(diagnosis.run, diagnosis.run.sites[small[0]])} among them, the "
        "gradient is too small for float16: it becomes zero."
    )
    numbers = {"rms": float(np.median(list(rms.values()))), "layers": float(len(small))}
    limit = f"rms < {SMALLEST_HALF} in half of the layers"
    where = diagnosis.name(small[0])
    found = Finding("UT404", "float16 underflow", Severity.WARNING, small, where, text, numbers, limit)
    yield in_float32(scale).on(found)


def _underflow_under_autocast(diagnosis: Diagnosis) -> Iterator[Finding]:
    lost = max(underflowing(diagnosis), key=lambda each: len(each.parameters), default=None)
    if lost is None:
        return
    site = lost.site
    rms = received_rms(diagnosis, site)
    text = (
        f"{few(lost.parameters)} {'gets' if len(lost.parameters) == 1 else 'get'} no gradient: what "
        f"{called(diagnosis.run, site)} gets is {rms:.1e} in size (root mean square), and becomes zero where it is "
        "passed on in float16."
    )
    numbers = {"rms": rms, "parameters": float(len(lost.parameters))}
    limit = f"rms < {SMALLEST_HALF}, and exactly nothing passed on"
    found = Finding("UT404", "float16 underflow", Severity.ERROR, (site.index,), site.name, text, numbers, limit)
    yield in_float32(diagnosis.loss_scale, weights=True).on(found)
