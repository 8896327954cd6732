"""UT601 and UT602: small gradients that are no fault."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from undertow.analysis.timeline import BINS, RunHistory
from undertow.diagnosis import Diagnosis
from undertow.pytorch_code import code, expression
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice import Advice
from undertow.rules.guessing import constant_level
from undertow.rules.registry import RULES, RUN, Blocks, rule
from undertow.wording import few, size

CANCELLING_BELOW = 0.1
AGREEING_ABOVE, LOOKS = 3.0, 5
FEWEST_UNITS = 4
ABSORBED_BELOW = 1e-4
FEW_LINES = 6
"""Layers that lines are written for one by one."""


@rule("UT601", "converged", declares_convergence=True)
def converged(diagnosis: Diagnosis) -> Iterator[Finding]:
    """The examples' gradients cancel: there is nothing left to learn from their average.

    What:
        Every example still pulls, but their pulls add up to less than those of strangers would by chance.
    Why it is bad:
        It is not. A small average gradient here means a minimum (or a saddle), not a vanishing gradient.
    Evidence:
        ``coherence x sqrt(rows)``, median over layers. Gradients that all point the same way give sqrt(rows), random
        ones 1, cancelling ones 0.
    Threshold:
        Under 0.1, in layers of at least 4 units, or no gradient at all. Free of the loss's scale: a small loss or
        gradient alone proves nothing. Over a run: the loss fell, by more than its noise, and moved by less than 2 % of
        that in the last quarter or longer, while nothing stands in the way (UT101 to UT105, UT108, UT202, steps that
        are too small or not taken), the loss isn't above what
        one answer for all examples would get, and the ratio isn't both over 3 and higher than at first.
    What to do:
        Nothing, or look at the validation data.
    References:
        Bottou, Curtis, Nocedal 2018 (gradient noise near a solution).
    """
    ratio = cancelling_ratio(diagnosis)
    gone = diagnosis.gradient_path is not None and not diagnosis.column("grad_output")[1:].any()
    if not gone and (ratio is None or ratio >= CANCELLING_BELOW):
        return
    if _hardly_moves(diagnosis.run.header):
        return
    ratio = 0.0 if gone or ratio is None else ratio
    text = "No gradient at all: the loss is flat here." if gone else "The examples' gradients cancel in the average."
    limit = f"coherence x sqrt(rows) < {CANCELLING_BELOW}"
    numbers = {"coherence x sqrt(rows)": ratio}
    made = Finding("UT601", "converged", Severity.NOTE, (), "everywhere", text, numbers, limit)
    yield Advice("Nothing is to be done here: look at the validation data.").on(made)


def _still_agree(history: RunHistory) -> bool:
    """Tell whether examples agree at the end on where to go, and no less than at first: then it isn't a minimum."""
    rows = np.flatnonzero(history.finite)
    first, last = (
        [ratio for row in some if (ratio := cancelling_ratio(Diagnosis(history.run, int(row)))) is not None]
        for some in (rows[:LOOKS], rows[-LOOKS:])
    )
    return bool(first and last) and float(np.median(last)) > max(AGREEING_ABOVE, float(np.median(first)))


def cancelling_ratio(diagnosis: Diagnosis) -> float | None:
    """Return ``coherence x sqrt(rows)``, the median over layers; None where there is none to tell it by.

    Of an embedding it says nothing: there every row of the sum is another example's.
    """
    coherence = diagnosis.column("coherence")
    ratios = [
        float(coherence[site.index]) * math.sqrt(math.prod(site.shape) / site.n_out)
        for site in diagnosis.run.sites
        if site.role is Role.WEIGHT
        and site.shape
        and site.n_out >= FEWEST_UNITS
        and "embedding" not in site.op
        and math.isfinite(coherence[site.index])
        and math.prod(site.shape) > site.n_out
        and not before_norm(diagnosis.run, site)
    ]
    return median(ratios) if ratios else None


def _hardly_moves(header: Mapping[str, Any]) -> bool:
    """Tell whether the optimizer's step is nothing to conclude from: its learning rate is 0, or it lowers nothing."""
    return header.get("lr") == 0


@rule("UT601", "converged", over=RUN)
def settled(history: RunHistory) -> Iterator[Finding]:
    """UT601 of a run: it learned, and then stood still, and nothing stands in its way.

    Small gradients alone prove nothing: a network whose gradient vanished from the start (its loss never fell), or
    that collapsed (its loss rose again), has them, too.
    """
    summary = history.loss_summary
    if summary is None or not summary.fell or summary.settled is None or not history.finite[-3:].all():
        return
    two_bins = 2 * float(history.loss.steps[-1] - history.loss.steps[0]) / BINS
    if any(_stands_in_the_way(fault, summary.settled + two_bins) for fault in history.findings):
        return
    if not history.one_loss or _still_agree(history) or summary.end > (constant_level(history) or np.inf):
        return
    numbers = {"start": summary.start, "end": summary.end}
    fell = f"from {size(summary.start)} to {size(summary.end)}"
    text = f"The loss fell {fell} and stands still: small gradients are no fault."
    limit = "the last quarter of the run moves the loss by less than 2 % of its fall, or than its noise"
    made = Finding("UT601", "converged", Severity.NOTE, (), "everywhere", text, numbers, limit, began=summary.settled)
    yield Advice(f"Stop here, at a loss of {size(summary.end)}, and look at the validation data.").on(made)


def _stands_in_the_way(fault: Finding, of: float) -> bool:
    """Return whether a fault may be why the loss stands still since step ``of``, or a little before."""
    lasts = fault.ended is None and fault.began is not None
    return lasts and (RULES[fault.code].blocks_converged is Blocks.EVER or (fault.began or 0) <= of)


@rule("UT602", "bias absorbed", columns=("coherence",))
def absorbed(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A bias in front of a normalisation has no effect.

    What:
        The normalisation subtracts the mean, and the bias with it: its gradient is zero up to rounding.
    Why it is bad:
        It is not; the parameters are superfluous.
    Evidence:
        ``coherence`` at the layer, and a normalisation right behind it.
    Threshold:
        Under 1e-4.
    What to do:
        ``bias=False`` in that layer, if you like.
    References:
        Ioffe, Szegedy 2015, section 3.2.
    """
    run, coherence = diagnosis.run, diagnosis.column("coherence")
    found = [
        site
        for site in run.sites
        if coherence[site.index] < ABSORBED_BELOW
        and any(name.endswith("bias") for name in site.parameters)
        and before_norm(run, site)
    ]
    if not found:
        return
    shown = few([site.name for site in found])
    one = f"The bias of {shown} does nothing: the normalisation behind it subtracts it again."
    many = f"The biases of {len(found)} layers ({shown}) do nothing: the normalisation behind each subtracts it again."
    text = one if len(found) == 1 else many
    numbers = {"coherence": float(max(coherence[site.index] for site in found)), "layers": float(len(found))}
    limit, sites = f"coherence < {ABSORBED_BELOW}", tuple(site.index for site in found)
    made = Finding("UT602", "bias absorbed", Severity.NOTE, sites, shown, text, numbers, limit)
    it, learns = ("it", "it learns") if len(found) == 1 else ("them", "they learn")
    yield Advice(f"Leave {it} out, if you like (bias=False): {learns} nothing.", code(*_without_bias(found))).on(made)


def _without_bias(found: Sequence[Site]) -> list[str]:
    modules = [site.module for site in found if site.module]
    if len(modules) <= FEW_LINES:
        return [f"{expression(module)}.bias = None" for module in modules]
    return [f"for name in {modules!r}:", "    model.get_submodule(name).bias = None"]


def before_norm(run: Run, site: Site) -> bool:
    """Return whether all its gradient comes out of a normalisation, which leaves a mean of zero."""
    return all(run.sites[run.edges[edge].source].role is Role.NORM for edge in run.incoming[site.index])
