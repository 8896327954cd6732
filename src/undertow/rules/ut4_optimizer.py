"""UT401, UT402: the optimizer's step, not judged without an optimizer. UT403: clipping."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.loss_trend import loss_ends
from undertow.analysis.timeline import Numbers, RunHistory
from undertow.diagnosis import Diagnosis
from undertow.record import Finding, Role, Severity
from undertow.rules.advice.steps import (
    USUAL_RATIO,
    optimizer_of,
    shorter_steps,
    smaller_epsilon,
    wider_clipping,
)
from undertow.rules.registry import RUN, rule
from undertow.rules.rounding import rounded_away
from undertow.rules.ut4_momentum import long_memory
from undertow.wording import amount, called, size

RATIO_ABOVE, MEDIAN_RATIO_ABOVE = 0.1, 0.25
DEVELOP = frozenset({"UT103", "UT108", "UT109", "UT201", "UT202", "UT405"})
"""What long steps bring about."""

LOOK_BACK = 12
"""Full steps before a fault among which a step that was too long may be its cause."""

BLOWN_UP = 4.0
"""Times that the weights of the median layer have grown by when units die or the loss jumps: steps did that."""

LONG_STEPS = "long steps"
"""What steps are called that are too long for most trainings, where the loss falls under them all the same."""

EPSILONS = 10.0
CUT_TO, MOSTLY, FEWEST_CLIPPED, LEARNED_BELOW = 0.1, 0.5, 20, 0.1
FEWEST_CUT, UNCUT, DIVIDED, LOWEST_LIMIT = 4, 1e-4, 0.02, 1e-4
SCALE_FREE = ("Adam", "Lion", "Adafactor", "RMSprop", "Rprop", "Adagrad", "Adadelta", "LAMB")


@rule(
    "UT401",
    "update ratio",
    sparse_columns=("update_ratio",),
    weighs_others=True,
    excused_by_convergence=True,
    excused_at_low_lr=("update too small",),
    excused_by_learning=("update too small",),
    spoils_weights=("update too large",),
    acts_by_steps=True,
    doubtful=(LONG_STEPS,),
    explains=(
        "UT101", "UT102", "UT103", "UT104", "UT108", "UT109", "UT201", "UT202", "UT203", "UT205", "UT405", "UT406",
        "UT704",
    ),
)  # fmt: skip
def update_ratio(diagnosis: Diagnosis) -> Iterator[Finding]:
    """A step changes weights by too large a part of themselves, or by so little that rounding takes it back.

    What:
        The optimizer's next step is as long as a tenth of a layer's weights or more.
    Why it is bad:
        The gradient holds for small steps; after such a large one the loss may be anywhere.
    Evidence:
        ``ratio``: ||dw|| / ||w||, the step tried on a copy, weight decay included.
    Threshold:
        More than 0.1 in a layer is a note: Adam's first steps reach it in networks that train well. A fault if the
        median over layers is more than 0.25, embeddings left out (their rows may well start near 0), and the loss
        doesn't fall in ten such steps, tried on copies. Or the weights of the median layer have grown fourfold by the
        step of a run at which units die, or the gradient is lost: steps between those that were measured did it, or
        many of one direction. Or momentum remembers 200 steps and more (0.995), or Adam's betas are exchanged.
        About 0.001 is usual later. Too small is less than 6e-8, half of the distance between neighbours in float32, or
        no change at all, in half of the layers; or no change where 60 % of the gradient is, in half precision: of 8
        trainings in bfloat16 those with 74 % or more came clearly less far than in float32, about half as far, and
        those with 43 % or less about as far. A watched run tells it by the weights' sizes: a step of Adam or SGD that
        is under half of the last digit of so many of them.
    What to do:
        A smaller learning rate, or warm-up. Where it is too small: a larger one, or float32 master weights.
    References:
        Karpathy 2015 (CS231n, "ratio of weights:updates"); You, Gitman, Ginsburg 2017 (LARS).
    """
    yield from long_memory(diagnosis)
    ratio = diagnosis.column("update_ratio")
    layers = [s for s in diagnosis.run.sites if s.role is Role.WEIGHT and np.isfinite(ratio[s.index])]
    large = [site for site in layers if ratio[site.index] > RATIO_ABOVE]
    if not large:
        yield from rounded_away(diagnosis)
        return
    worst = max(large, key=lambda site: ratio[site.index])
    severity, outcome, more = _outcome(diagnosis)
    long = "long" if severity is Severity.NOTE else "too long"
    text = (
        f"A step of {optimizer_of(diagnosis.run.header)} is {long}: it changes the weights of {len(large)} of "
        f"{len(layers)} layers by more than a tenth of themselves, those of {called(diagnosis.run, worst)} by "
        f"{_of_themselves(float(ratio[worst.index]))}."
    )
    sites = tuple(site.index for site in large)
    median = float(np.median([ratio[site.index] for site in layers]))
    numbers = {"ratio": float(ratio[worst.index]), "median": median, "layers": float(len(large)), **more}
    limit = f"||dw|| / ||w|| > {RATIO_ABOVE}; a fault if its median is over {MEDIAN_RATIO_ABOVE}"
    name = LONG_STEPS if severity is Severity.NOTE and "loss later" in more else "update too large"
    found = Finding("UT401", name, severity, sites, worst.name, text + outcome, numbers, limit)
    yield shorter_steps(_header_at(diagnosis), median).on(found)


def _header_at(diagnosis: Diagnosis) -> Mapping[str, Any]:
    """Return a run's header with the learning rate of the step that is judged: a schedule changes it."""
    header, rates = diagnosis.run.header, diagnosis.run.steps.get("lr")
    known = rates is not None and len(rates) and np.isfinite(rates[diagnosis.step])
    return {**header, "lr": float(rates[diagnosis.step])} if rates is not None and known else header


def _of_themselves(ratio: float) -> str:
    return f"{amount(ratio)} times their size" if ratio >= 1 else f"{ratio:.0%}"


@rule("UT401", "update ratio", over=RUN)
def long_steps_before(history: RunHistory) -> Iterator[Finding]:
    """Judge the steps before a fault that developed: long ones are no mere note where units died of them."""
    developed = [each for each in history.findings if each.code in DEVELOP and not each.from_start and each.began]
    if not developed or any(each.code == "UT401" for each in history.findings):
        return
    first = min(developed, key=lambda each: each.began or 0)
    rows = np.flatnonzero(history.finite & (history.steps < (first.began or 0)))[-LOOK_BACK:]
    lengths = {int(row): _typical_ratio(Diagnosis(history.run, int(row))) for row in rows}
    long = [row for row in lengths if lengths[row] > MEDIAN_RATIO_ABOVE]
    for found in update_ratio(Diagnosis(history.run, long[0])) if long else ():
        step = int(history.steps[long[0]])
        yield replace(found, severity=Severity.WARNING, began=step, from_start=step <= history.first_step)
    if not long:
        yield from _blown_up(history, int(first.began or 0))


def _blown_up(history: RunHistory, step: int) -> Iterator[Finding]:
    """Report steps that have made the weights many times as large as they were, by the step of a fault."""
    run, rows = history.run, np.flatnonzero(history.run.parameter_steps >= step)
    if "weight_norm" not in run.parameter_columns or not len(rows):
        return
    matrices = [n for s in run.sites if s.role is Role.WEIGHT for n in s.parameters if "bias" not in n]
    places = sorted({run.parameters.index(name) for name in matrices if name in run.parameters})
    sizes = np.asarray(run.parameter_columns["weight_norm"][:, places], float)
    known = np.isfinite(sizes[[0, rows[0]]]).all(0) & (sizes[0] > 0)
    grown = float(np.median(sizes[rows[0], known] / sizes[0, known])) if known.any() else 0.0
    if grown < BLOWN_UP:
        return
    optimizer, began = optimizer_of(run.header), int(history.first_step)
    text = (
        f"The steps of {optimizer} have thrown the weights out: by step {step:,} those of the median layer are "
        f"{amount(grown)} times as large as at first."
    )
    limit = f"||w|| of the median layer under {BLOWN_UP:g} times what it was, when a fault begins"
    found = Finding(
        "UT401", "update too large", Severity.WARNING, (), "the optimizer", text, {"grown": grown}, limit,
        "w <- w + dw", began=began, from_start=True,
    )  # fmt: skip
    yield shorter_steps(run.header, grown * USUAL_RATIO, smaller_sums=True).on(found)


def long_steps(diagnosis: Diagnosis) -> bool:
    """Tell whether a step changes half of the layers by so much that its consequence must be looked at."""
    tried = not str(diagnosis.run.header.get("optimizer", "none")).startswith(("none", "not judged"))
    return tried and _typical_ratio(diagnosis) > MEDIAN_RATIO_ABOVE


def _typical_ratio(diagnosis: Diagnosis) -> float:
    """Return the median over layers that multiply; embeddings are left out, of which a batch moves few rows."""
    ratio = diagnosis.column("update_ratio")
    layers = (s for s in diagnosis.run.sites if s.role is Role.WEIGHT and "embedding" not in s.op)
    known = [float(ratio[site.index]) for site in layers if np.isfinite(ratio[site.index])]
    return float(np.median(known)) if known else 0.0


def _outcome(diagnosis: Diagnosis) -> tuple[Severity, str, dict[str, float]]:
    """Return how much long steps matter: no fault where the loss falls under them all the same."""
    if _typical_ratio(diagnosis) <= MEDIAN_RATIO_ABOVE:
        return Severity.NOTE, "", {}
    ahead, now = diagnosis.run.header.get("ahead", {}), float(diagnosis.run.header.get("loss", np.nan))
    later = float(ahead.get("loss", np.nan))
    if np.isnan(later) or np.isnan(now):
        return Severity.WARNING, "", {}
    numbers = {"loss": now, "loss later": later}
    told = f" After {ahead['steps']} such steps the loss is {size(later)}, from {size(now)}"
    if later < now:
        return Severity.NOTE, f"{told}: it falls all the same, on this batch at least.", numbers
    return Severity.WARNING, f"{told}.", numbers


@rule(
    "UT402",
    "under Adam's epsilon",
    header=("epsilon",),
    columns=("weight_grad_norm",),
    excused_by_convergence=True,
    excused_by_learning=True,
)
def epsilon_floor(diagnosis: Diagnosis) -> Iterator[Finding]:
    """Gradients are so small that Adam's epsilon swallows them.

    What:
        The root mean square of a layer's gradient is not far above the optimizer's epsilon.
    Why it is bad:
        Adam divides by sqrt(v) + epsilon to make steps independent of the gradient's scale. With sqrt(v) down at
        epsilon it doesn't, and the layer's steps shrink with its gradient.
    Evidence:
        ``rms`` of the gradient of a layer's weights; ``epsilon``.
    Threshold:
        rms < 10 epsilon: steps more than a tenth shorter than they should be. A fault if it is so in every layer (the
        loss is too small); a note if only in some, as it is behind LayerScale 1e-6 or in front of attention's softmax
        in networks that train well.
    What to do:
        A smaller epsilon (in float32 1e-12 is safe), a loss that isn't scaled down, or what helps against UT101.
    References:
        Kingma, Ba 2015, algorithm 1; Wortsman et al. 2023 (small-scale proxies), section 3.4.
    """
    epsilon = diagnosis.run.header.get("epsilon")
    if not epsilon:
        return
    norm = diagnosis.column("weight_grad_norm")
    small: dict[int, float] = {}
    layers = 0
    for site in diagnosis.run.sites:
        if site.role is Role.WEIGHT and site.weight_shape and norm[site.index] > 0:
            layers += 1
            rms = float(norm[site.index] / np.sqrt(np.prod(site.weight_shape)))
            if rms < EPSILONS * epsilon:
                small[site.index] = rms
    if not small:
        return
    worst = min(small, key=lambda site: small[site])
    optimizer = optimizer_of(diagnosis.run.header)
    where = f"all {layers}" if len(small) == layers else f"{len(small)} of {layers}"
    text = (
        f"{optimizer}'s epsilon swallows the gradient in {where} layers, most of all in "
        f"{called(diagnosis.run, diagnosis.run.sites[worst])}: its root mean square is {small[worst]:.1e}, epsilon "
        f"{epsilon:.0e}, and steps get too short."
    )
    numbers = {"rms": small[worst], "epsilon": float(epsilon), "layers": float(len(small))}
    limit = f"rms < {EPSILONS:.0f} epsilon"
    equation = "dw = -lr m / (sqrt(v) + epsilon)"
    name, where = "under Adam's epsilon", diagnosis.name(worst)
    severity = Severity.WARNING if len(small) == layers else Severity.NOTE
    found = Finding("UT402", name, severity, tuple(small), where, text, numbers, limit, equation)
    yield smaller_epsilon(diagnosis.run.header, small[worst]).on(found)


@rule(
    "UT403",
    "clipping always on",
    over=RUN,
    once_per_run=True,
    explains=("UT408", "UT704"),
)
def clipping(history: RunHistory) -> Iterator[Finding]:
    """Clipping cuts most gradients to a small part of themselves.

    What:
        The threshold of gradient clipping lies far under the norm that the gradient usually has.
    Why it is bad:
        Clipping is there for the odd step. If nearly every step is cut, the learning rate that was set is not the one
        that is used: steps have one length whatever the gradient, and don't get shorter near a minimum.
    Evidence:
        ``clipped``: share of the noted steps whose gradient was cut; ``cut to``: norm after / norm before, the median
        over all noted steps; ``norm``: the median norm before.
    Threshold:
        Cut to a tenth or less in at least half of the steps. Cutting a little, also in every step, is common and does
        no harm: a healthy run of ours clipped at 1 had all of its gradients cut, to 0.78 of themselves in the median
        (0.3 at the least), and learned as well as without. Cut to a hundredth it learned next to nothing in the time.
        A note under Adam and its like, where a constant factor makes no difference, and where the loss fell to a tenth
        all the same: there the length of a step was chosen by the threshold, and suits.
    What to do:
        Clip at two or three times the usual norm, or lower the learning rate instead. If the norm itself is too
        large, look for why (UT102).
    References:
        Pascanu, Mikolov, Bengio 2013, section 3.2 (a threshold from statistics of the norm over many updates);
        Zhang, He, Sra, Jadbabaie 2020 (clipping as an adaptive learning rate).
    """
    after, before = history.scalar("grad_norm"), history.scalar("grad_norm_unclipped")
    steps, first, second = np.intersect1d(after.steps, before.steps, return_indices=True)
    kept, whole = after.values[first], before.values[second]
    usable = np.isfinite(kept) & np.isfinite(whole) & (whole > 0) & (kept > 0)  # 0: cleared, see UT702
    by_value = _cut_by_value(kept, whole, usable)
    if usable.sum() < FEWEST_CLIPPED:
        return
    usable = usable if by_value is None else by_value
    cut = kept[usable] / whole[usable]
    hard = cut <= CUT_TO
    if hard.mean() < MOSTLY:
        return
    numbers = {
        "clipped": float((cut < 1 - 1e-4).mean()),
        "cut to": float(np.median(cut)),
        "norm": float(np.median(whole[usable])),
    }
    limit_of_clipping = numbers["norm"] * numbers["cut to"]
    text = (
        f"Clipping cuts the gradient in {numbers['clipped']:.0%} of the steps, usually to {numbers['cut to']:.2g} of "
        f"itself: its norm is {size(numbers['norm'], 2)}, and what is left of it {size(limit_of_clipping, 2)}."
    )
    unscaled = _is_scaled_yet(history, None if by_value is None else float(np.median(kept[usable])))
    if unscaled:
        text += " The gradients are still multiplied by the loss scale when they are clipped."
    optimizer = str(history.run.header.get("optimizer", ""))
    harmless = any(name in optimizer for name in SCALE_FREE) or _learned_all_the_same(history)
    severity = Severity.NOTE if harmless else Severity.WARNING
    limit = f"cut to {CUT_TO} or less in {MOSTLY:.0%} of the steps"
    began = int(steps[usable][np.argmax(hard)])
    found = Finding(
        "UT403", "clipping always on", severity, (), "the gradient's norm", text, numbers, limit, began=began,
        from_start=began <= history.first_step,
    )  # fmt: skip
    meant = limit_of_clipping * _usual_scale(history) if unscaled else limit_of_clipping
    yield wider_clipping(numbers["norm"], meant, unscaled, by_value is not None).on(found)


def _cut_by_value(kept: Numbers, whole: Numbers, usable: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return the steps at which gradients are seen to be cut number by number; None where nearly all are not.

    No norm is computed for it: what there was before is known of some full steps alone, and seems uncut at others. A
    constant factor between the two is a division, as by the number of passes.
    """
    seen = usable & (kept < (1 - UNCUT) * whole)
    if not FEWEST_CUT <= seen.sum() < MOSTLY * usable.sum():
        return None
    cut, left = np.log(kept[seen] / whole[seen]), float(np.median(kept[usable]))
    hard = np.median(cut) <= np.log(CUT_TO) and left <= CUT_TO * float(np.median(whole[seen]))
    return seen if hard and float(np.ptp(cut)) > DIVIDED else None


def _is_scaled_yet(history: RunHistory, kept: float | None) -> bool:
    """Tell whether gradients are clipped while the loss scale is in them; ``kept``: the norm, if cut by value."""
    if kept is not None:  # an unscaled limit as low as what is left of them nobody sets
        parameters = float(history.run.header.get("parameters", 1))
        return _usual_scale(history) > 1 and kept < LOWEST_LIMIT * parameters**0.5
    flags = history.scalar("clipped_scaled").values
    return len(flags) > 0 and bool(flags.mean() > MOSTLY)


def _usual_scale(history: RunHistory) -> float:
    """Return the loss scale's median: a limit on scaled gradients is as many times what is left of these, unscaled."""
    scales = history.scalar("scale").values
    return float(np.median(scales)) if len(scales) else 1.0


def _learned_all_the_same(history: RunHistory) -> bool:
    ends = loss_ends(history)
    return ends is not None and ends[0] > 0 and ends[1] < LEARNED_BELOW * ends[0]
