"""UT704: the loss does not fall, whatever the gradients look like."""

from collections.abc import Iterator, Sequence

import numpy as np

from undertow.analysis.loss_trend import Standstill, standstill, warming_up
from undertow.analysis.timeline import RunHistory
from undertow.record import Finding, Role, Run, Severity
from undertow.rules.advice.loop import one_batch_by_heart
from undertow.rules.registry import RUN, Blocks, rule

CHANCE = 0.03
"""Part of it by which a loss may be off chance that stands there."""

FLOOR = 1e-3
BINARY = float(np.log(2))
CLASSIFIES = ("nll_loss", "log_softmax", "cross_entropy", "binary_cross_entropy")


@rule("UT704", "doesn't learn", over=RUN, once_per_run=True, blocks_converged=Blocks.EVER, weighs_others=True)
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
        100 steps and 20 losses; start - best under 2 % of the start, or under 4 deviations of such a median. Or, of a
        classifier, the second half of the run lies between 90 % and 102 % of chance and falls no more (90 %: where
        classes aren't equally frequent, to know how frequent they are takes a little off). An error where the loss
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
    still = standstill(history, _chance_level(history.run))
    if still is None:
        return
    severity, chance, level = _severity(history, still), _chance(history.run, still), _chance_level(history.run)
    text = f"The loss has not fallen in {still.steps:,} steps: {still.start:.4g} at first, {still.best:.4g} at best"
    if chance is not None:
        text += f", which is chance ({chance[1]})"
    elif level is not None and still.best < level:
        text += f", about what answering by how frequent the classes are would give (chance is {level:.3g})"
    text += f". {_meaning(history)}"
    numbers = {"start": still.start, "best": still.best, "noise": still.noise, "steps": float(still.steps)}
    if chance is not None:
        numbers["chance"] = chance[0]
    limit = "no tenth of the run under the start by 2 % of it, or by 4 deviations of a median"
    began = int(history.first_step)
    found = Finding(
        "UT704", "doesn't learn", severity, (), "the loss", text, numbers, limit, began=began, from_start=True
    )  # fmt: skip
    causes = list(dict.fromkeys(each.code for each in history.findings))[:2]
    yield one_batch_by_heart(still.steps, still.start, causes).on(found)


def _severity(history: RunHistory, still: Standstill) -> Severity:
    goes_on = history.first_step > 0
    if not history.one_loss or goes_on or still.start <= FLOOR or history.loss.values.min() < 0:
        return Severity.NOTE
    if warming_up(history) and not history.findings:
        return Severity.NOTE
    if _chance(history.run, still) is not None or history.findings:
        return Severity.ERROR
    return Severity.WARNING


def _chance_level(run: Run) -> float | None:
    """Return the loss of answering all classes alike, of a network that is seen to classify."""
    classes = next((site.n_out for site in run.sites if site.role is Role.WEIGHT and site.n_out), 0)
    classifies = any(site.op.startswith(CLASSIFIES) for site in run.sites)
    return float(np.log(max(classes, 2))) if classifies and classes else None


def _chance(run: Run, still: Standstill) -> tuple[float, str] | None:
    """Return the loss of answering all classes alike, where this is it, and how it comes about."""
    layers = [site for site in run.sites if site.role is Role.WEIGHT and site.n_out]
    classes = layers[0].n_out if layers else 0
    known = [(BINARY, "ln 2")] + ([(float(np.log(classes)), f"ln {classes}")] if classes > 2 else [])
    return next((each for each in known if abs(still.best - each[0]) <= max(CHANCE * each[0], 4 * still.noise)), None)


def _meaning(history: RunHistory) -> str:
    others: Sequence[Finding] = history.findings
    if others:
        codes = list(dict.fromkeys(f"{each.code} ({each.name})" for each in others))[:3]
        return f"The reason may be {' or '.join(codes)}."
    return "Nothing was found on the gradient's way: look at inputs and targets, and whether they belong together."
