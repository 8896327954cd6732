"""UT203: attention whose softmax has become one-hot."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.loss_trend import loss_ends
from undertow.analysis.timeline import RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Run, Severity, Site
from undertow.rules.advice.representations import softer_attention
from undertow.rules.registry import RUN, rule
from undertow.wording import called

ONE_HOT_ABOVE = 0.6
GAP_ABOVE = 8.0
LASTING = 3
LEARNED_BELOW = 0.1
STEPS_TO_LOGITS = 6
_PRODUCTS = frozenset({"bmm", "baddbmm", "mm", "addmm", "mul", "sum", "cdist"})
_LIMIT = (
    f"more than {ONE_HOT_ABOVE:.0%} of all rows with one weight above 0.99, and logits on average {GAP_ABOVE:.0f} apart"
)
_EQUATION = "dp_i / dz_j = p_i (delta_ij - p_j): zero where p is one-hot"


@rule(
    "UT203",
    "attention saturated",
    columns=("one_hot", "logit_gap"),
    explains=("UT103", "UT104", "UT106", "UT405", "UT704"),
)
def saturated_attention(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Attention logits are so large that the softmax gives everything to one key.

    What:
        In most rows of a layer's attention one key has more than 0.99 of the weight, by a wide margin.
    Why it is bad:
        The softmax's derivative p (1 - p) is zero there: queries and keys get no gradient and can't change where they
        look. Where logits grow while training, they grow on until the loss spikes or diverges.
    Evidence:
        ``one_hot``: share of rows, over all heads, in which one weight is above 0.99; ``one_hot_head``: the same of
        the head with most. ``logit_gap``: how far a row's largest logit is above the next, on average. In a run also
        ``gap before``: at its first recorded step.
    Threshold:
        More than 60 % of a layer's rows, and a mean gap above 8: there the largest weight left to another key is
        3e-4. Single sharp heads of trained models (previous token, first token) leave the rest of their layer soft;
        layers of small transformers with normalised queries and keys were seen at up to half of their rows and a gap of
        8.6. A network that has learned its task (the loss under a tenth of what it was) isn't told. At the usual start
        gaps are under 1; without the division by sqrt(d) they are about sqrt(d) / 2.5.
    What to do:
        Divide logits by sqrt(d) of the head, normalise queries and keys (QK norm), start their weights smaller, or
        take a smaller learning rate with warm-up.
    References:
        Vaswani et al. 2017, section 3.2.1; Henry et al. 2020 (query-key normalisation); Dehghani et al. 2023 (ViT-22B);
        Wortsman et al. 2023; Zhai et al. 2023 (attention entropy collapse).
    """
    run = diagnosis.run
    found = _saturated(run, diagnosis.step)
    if found:
        worst = _worst(run, diagnosis.step, found)
        numbers = _numbers(run, diagnosis.step, worst, found)
        advice = softer_attention(run, worst, found, numbers["logit_gap"], grew=False)
        yield advice.on(_finding(found, worst, numbers, _sentence(run, numbers, worst, found)))


@rule("UT203", "attention saturated", over=RUN)
def saturated_in_time(history: RunHistory) -> Iterator[Finding]:
    """Judge the last recorded steps of a run, and say whether logits grew to be so large."""
    run = history.run
    rows = np.flatnonzero(history.measured("one_hot"))
    hot = [_saturated(run, int(row)) for row in rows]
    there = np.array([bool(found) for found in hot], bool)
    if not len(rows) or there[-LASTING:].sum() < min(2, len(rows)) or _learned(history):
        return
    last = int(np.flatnonzero(there)[-1])
    first = _since(there)
    found, row = hot[last], int(rows[last])
    worst = _worst(run, row, found)
    numbers = _numbers(run, row, worst, found) | {"gap before": float(run.columns["logit_gap"][rows[0], worst.index])}
    grew = first > 0 and numbers["gap before"] < numbers["logit_gap"] / 2
    how = f" The gap was {numbers['gap before']:.2g} at the first step: the logits have grown." if grew else ""
    text = f"{_sentence(run, numbers, worst, found)}{how}"
    began = int(history.steps[rows[first]])
    advice = softer_attention(run, worst, found, numbers["logit_gap"], numbers["gap before"] < GAP_ABOVE)
    yield advice.on(_finding(found, worst, numbers, text, began, first == 0))


def _saturated(run: Run, row: int) -> list[Site]:
    """Return the attention Sites that are saturated at a recorded step."""
    share, gap = run.column("one_hot", row), run.column("logit_gap", row)
    hot = np.flatnonzero((share > ONE_HOT_ABOVE) & (gap > GAP_ABOVE))
    return [run.sites[index] for index in hot.tolist() if attends(run, run.sites[index])]


def attends(run: Run, site: Site) -> bool:
    """Tell attention from routers and the like: data meets data behind its softmax."""
    if site.role is not Role.ATTENTION or site.op.startswith("scaled_dot_product"):
        return site.role is Role.ATTENTION
    for _ in range(STEPS_TO_LOGITS):
        ways = run.outgoing[site.index]
        if not ways:
            return False
        site = run.sites[run.edges[ways[0]].target]
        if site.role is Role.ATTENTION and site.op in _PRODUCTS:
            return True
        if site.role is Role.WEIGHT:
            return False
    return False


def _worst(run: Run, row: int, found: Sequence[Site]) -> Site:
    share, gap = run.column("one_hot", row), run.column("logit_gap", row)
    return max(found, key=lambda site: (round(float(share[site.index]), 1), gap[site.index]))


def _numbers(run: Run, row: int, worst: Site, found: Sequence[Site]) -> dict[str, float]:
    names = ("one_hot", "one_hot_head", "logit_gap")
    return {name: float(run.column(name, row)[worst.index]) for name in names} | {"layers": float(len(found))}


def _sentence(run: Run, numbers: dict[str, float], worst: Site, found: Sequence[Site]) -> str:
    others = len(found) - 1
    more = f", and it is much the same at {others} other layer{'s' if others > 1 else ''}" if others else ""
    return (
        f"Attention looks at one key alone for {numbers['one_hot']:.0%} of the queries ({called(run, worst)}): the "
        f"largest logit (query times key) is {numbers['logit_gap']:.0f} above the next{more}. So queries and keys get "
        "hardly any gradient, and don't learn where to look."
    )


def _finding(
    found: Sequence[Site],
    worst: Site,
    numbers: dict[str, float],
    text: str,
    began: int | None = None,
    from_start: bool = False,
) -> Finding:
    sites = tuple(site.index for site in found)
    return Finding(
        "UT203",
        "attention saturated",
        Severity.WARNING,
        sites,
        worst.name,
        text,
        numbers,
        _LIMIT,
        _EQUATION,
        began=began,
        from_start=from_start,
    )


def _since(there: NDArray[np.bool_]) -> int:
    """Return the place from which on it holds up to the end, single steps excepted."""
    start = len(there) - 1
    while start > 0 and there[max(start - LASTING, 0) : start].mean() > 0.5:
        start -= 1
    while not there[start]:
        start += 1
    return start


def _learned(history: RunHistory) -> bool:
    ends = loss_ends(history)
    return ends is not None and ends[0] > 0 and ends[1] < LEARNED_BELOW * ends[0]
