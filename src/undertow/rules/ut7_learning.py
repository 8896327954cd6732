"""UT704: the loss does not fall, whatever the gradients look like."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from undertow.analysis.loss_trend import (
    FEWEST_LOSSES,
    STANDING_STEPS,
    LossLevel,
    Standstill,
    standstill,
    warming_up,
)
from undertow.analysis.timeline import RunHistory
from undertow.operations import REGRESSION_LOSSES
from undertow.record import Finding, Role, Run, Severity
from undertow.rules.advice.loop import batches_mixed, one_batch_by_heart, sign_turned
from undertow.rules.guessing import FEWEST_BATCHES, FLOOR, chance_level, loss_levels, of_the_loss
from undertow.rules.registry import RUN, Blocks, rule
from undertow.rules.run_outcome import came_late
from undertow.wording import amount, size

CHANCE = 0.03
"""Part of it by which a loss may be off chance that stands there."""

ONE_CLASS, ABOVE_CONSTANT, OVER_CONSTANT = 0.6, 1.3, 0.2
STANDS_ABOVE, FALLS_YET = 2.0, 0.1
"""Times the best constant answer's loss at which a classifier's stands, if it fell by less than that in a quarter."""

AT_MINUS_CHANCE, FAR_BELOW = (0.5, 2.0), 2.0
"""Times minus chance at which a log-likelihood begins that is minimised, and below which it has gone far."""

NAME, UNMIXED, SIGN = "doesn't learn", "batches not mixed", "sign lost"

BINARY = float(np.log(2))


@rule(
    "UT704",
    "doesn't learn",
    over=RUN,
    once_per_run=True,
    blocks_converged=Blocks.EVER,
    weighs_others=True,
    explains=("UT101", "UT104", "UT105", "UT108", "UT109", "UT201", "UT202", "UT203", "UT205", "UT401", "UT405"),
    explains_by=(UNMIXED, SIGN),
    acts_by_steps=True,
)
def no_learning(history: RunHistory) -> Iterator[Finding]:
    """The loss has not fallen, over a stretch long enough to tell.

    What:
        No tenth of the run has a loss lower than the run began with, by more than its own noise.
    Why it is bad:
        The gradients may look well, and nothing is learned from them. What else is found may be the reason; if nothing
        is, look where no gradient shows it: at the data.
    Evidence:
        ``start``, the median of the first losses; ``best``, the lowest median of a tenth of the run; ``noise``, how
        far such medians lie from where they belong by chance; ``chance``, the loss of a network that answers all
        classes alike, where the loss stands there; ``steps``.
    Threshold:
        100 steps and 16 losses; start - best under 2 % of the start, or under 4 deviations of such a median. Or, of a
        classifier, the second half of the run lies between 90 % and 102 % of chance and falls no more (90 %: where
        classes aren't equally frequent, to know how frequent they are takes a little off); or between 95 % and 102 % of
        ``constant``, what the best answer that is the same for every example would get by the targets of the batches
        (the classes' frequencies, the targets' variance). Or batches aren't mixed: six in ten of a batch's targets are
        of one class, the median, and the loss is 1.3 times ``constant`` and more. Or, of a classifier, the last quarter
        of the run lies over twice ``constant``, and less than a tenth under the quarter before. Or a classifier's loss
        began at minus chance and fell below twice that: a likelihood that is minimised. An error where the loss
        stands at chance (within 3 %, ln n for n outputs), or something else that was found keeps it from learning;
        else a warning. A note where a loss needn't fall: with several optimizers, as a GAN's; if it was negative (a
        likelihood's or a reward's); while the learning rate rises yet, and nothing else was found; if it began at its
        floor (under 0.001); or in a run that goes on from an earlier one.
    What to do:
        Train on a single batch: if its loss falls to nothing, the network and the loop are in order, and inputs and
        targets don't belong together (a wrong reshape, shuffled apart, labels that are constant). If it doesn't, look
        at what else was found, then at the learning rate, ten times up and down.
    References:
        Karpathy 2019 (A recipe for training neural networks: "overfit one batch").
    """
    levels = loss_levels(history)
    still = standstill(history, list(levels.values()))
    mistaken = [*_unmixed(history), *_sign_lost(history)] or ([] if still else [*_above_constant(history, levels)])
    yield from mistaken[:1]
    if mistaken or still is None:
        return
    chance = _chance(history.run, still)
    text = f"The loss has not fallen in {still.steps:,} steps: {size(still.start, 4)} in its first steps, "
    text += f"{size(still.best, 4)} at best"
    text += f"{_held_against(still, chance, levels)}. {_meaning(history)}"
    numbers = {"start": still.start, "best": still.best, "noise": still.noise, "steps": float(still.steps)}
    if chance is not None:
        numbers["chance"] = chance[0]
    if "constant" in levels:
        numbers["constant"] = levels["constant"].value
    limit = "no tenth of the run under the start by 2 % of it, or by 4 deviations of a median"
    made = _finding(history, _severity(history, still), text, numbers, limit)
    yield one_batch_by_heart(still.steps, still.start, _causes(history)).on(made)


def _causes(history: RunHistory) -> list[str]:
    return list(dict.fromkeys(each.code for each in _possible_causes(history)))[:2]


def _possible_causes(history: RunHistory) -> list[Finding]:
    steps = history.loss.steps[-1] - history.first_step + 1 if len(history.loss.steps) else np.inf
    return [each for each in history.findings if not came_late(each, steps, history.first_step)]


def _finding(
    history: RunHistory, severity: Severity, text: str, numbers: Mapping[str, float], limit: str, name: str = NAME
) -> Finding:
    began = int(history.first_step)
    return Finding("UT704", name, severity, (), "the loss", text, numbers, limit, began=began, from_start=True)


def _held_against(still: Standstill, chance: tuple[float, str] | None, levels: Mapping[str, LossLevel]) -> str:
    """Say at which level a loss stands at which nothing has been learned of the inputs."""
    if chance is not None:
        return f", which is chance ({chance[1]})"
    constant = levels.get("constant")
    if constant is not None and constant.under * constant.value <= still.best < constant.value * (1 + CHANCE):
        return f", which is what one answer for all examples would get ({size(constant.value)})"
    level = levels.get("chance")
    if level is not None and still.best < level.value:
        frequent = f"about what answering by how frequent the classes are would give (chance is {size(level.value)})"
        return f", {frequent}"
    return ""


def _unmixed(history: RunHistory) -> Iterator[Finding]:
    """Report batches of one class: the network learns each, and forgets it with the next."""
    run = history.run
    columns = ("commonest", "constant_loss")
    if not all(name in run.columns for name in columns) or "loss" not in run.steps or not history.one_loss:
        return
    share, constant = (of_the_loss(run, name) for name in columns)
    loss = np.asarray(run.steps["loss"], float)
    known = np.flatnonzero(np.isfinite(share) & np.isfinite(constant) & np.isfinite(loss))
    if len(known) < FEWEST_BATCHES:
        return
    late = known[len(known) // 2 :]
    commonest, level, now = (float(np.median(each[late])) for each in (share, constant, loss))
    if commonest < ONE_CLASS or now < level * ABOVE_CONSTANT + OVER_CONSTANT:
        return
    text = (
        f"Batches are not mixed: in the median one {commonest:.0%} of the targets are of one class, and the loss of "
        f"{size(now)} is above what naming that class alone would get ({size(level)}): each batch is learned, and "
        "the next one makes the network forget it."
    )
    numbers = {"commonest": commonest, "constant": level, "loss": now}
    limit = f"{ONE_CLASS:.0%} of a batch of one class, at {ABOVE_CONSTANT:g} times the loss of naming it"
    yield batches_mixed().on(_finding(history, Severity.WARNING, text, numbers, limit, UNMIXED))


def _sign_lost(history: RunHistory) -> Iterator[Finding]:
    """Report a loss that began at minus chance and falls without end: a log-likelihood that is minimised."""
    values, chance = history.loss.values, chance_level(history.run)
    if chance is None or len(values) < FEWEST_LOSSES or not history.one_loss or not np.isfinite(values).all():
        return
    start, end = float(np.median(values[:3])), float(np.median(values[-max(len(values) // 10, 3) :]))
    if not AT_MINUS_CHANCE[0] < -values[0] / chance < AT_MINUS_CHANCE[1] or end > -FAR_BELOW * chance or end >= start:
        return
    text = (
        f"The loss began at {values[0]:.3g}, which is minus chance ({chance:.3g}), and fell to {end:.4g} and on: "
        "it is a log-likelihood, which is largest where the network is right, and it is minimised."
    )
    numbers = {"start": float(values[0]), "end": end, "chance": chance}
    limit = f"a loss that begins between {AT_MINUS_CHANCE[0]:g} and {AT_MINUS_CHANCE[1]:g} times minus chance"
    limit += f" and ends under {FAR_BELOW:g} times"
    yield sign_turned().on(_finding(history, Severity.ERROR, text, numbers, limit, SIGN))


def _above_constant(history: RunHistory, levels: Mapping[str, LossLevel]) -> Iterator[Finding]:
    """Report a classifier's loss that stands far above what one answer for all examples would get."""
    values, level = history.loss.values, levels["constant"].value if "constant" in levels else np.inf
    steps = int(history.loss.steps[-1] - history.first_step) + 1 if len(values) else 0
    if len(values) < FEWEST_LOSSES or steps < STANDING_STEPS or not history.one_loss or "chance" not in levels:
        return
    before, now = (float(np.median(part)) for part in np.array_split(values, 4)[2:])
    if now < STANDS_ABOVE * level + OVER_CONSTANT or now < before * (1 - FALLS_YET):
        return
    text = (
        f"The loss stands at {size(now)} after {steps:,} steps, {amount(now / level)} times what one answer for all "
        f"examples would get ({size(level)}): the network is sure of wrong answers, and doesn't unlearn them. "
        f"{_meaning(history)}"
    )
    numbers = {"loss": now, "constant": level, "steps": float(steps)}
    limit = f"{STANDS_ABOVE:g} times the loss of the best constant answer"
    severity = Severity.ERROR if _possible_causes(history) else Severity.WARNING
    made = _finding(history, severity, text, numbers, limit)
    yield one_batch_by_heart(steps, float(np.median(values[:5])), _causes(history)).on(made)


def _severity(history: RunHistory, still: Standstill) -> Severity:
    goes_on = history.first_step > 0
    if not history.one_loss or goes_on or still.start <= FLOOR or history.loss.values.min() < 0:
        return Severity.NOTE
    causes = _possible_causes(history)
    if warming_up(history) and not causes:
        return Severity.NOTE
    if _chance(history.run, still) is not None or causes:
        return Severity.ERROR
    return Severity.WARNING


def _chance(run: Run, still: Standstill) -> tuple[float, str] | None:
    """Return the loss of answering all classes alike, where this is it, and how it comes about."""
    if any(site.op in REGRESSION_LOSSES for site in run.sites):  # ln 2 is a number like another there
        return None
    layers = [site for site in run.sites if site.role is Role.WEIGHT and site.n_out]
    classes = layers[0].n_out if layers else 0
    known = [(BINARY, "ln 2")] + ([(float(np.log(classes)), f"ln {classes}")] if classes > 2 else [])
    return next((each for each in known if abs(still.best - each[0]) <= max(CHANCE * each[0], 4 * still.noise)), None)


def _meaning(history: RunHistory) -> str:
    others: Sequence[Finding] = _possible_causes(history)
    if others:
        codes = list(dict.fromkeys(f"{each.code} ({each.name})" for each in others))[:3]
        return f"The reason may be {' or '.join(codes)}."
    return "Nothing was found on the gradient's way: look at inputs and targets, and whether they belong together."
